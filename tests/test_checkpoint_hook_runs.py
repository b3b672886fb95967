"""Checkpoints of several runs in a folder, between planned ones, and best ones that are written late."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from conftest import forgotten
from mmengine.config import Config
from small_runs import HOOK, Score, names, small_run
from test_checkpoint_hook import At, load, watch
from tiny_runs import runner
from two_processes import in_two_processes

from convnext_dense.errors import InputError
from convnext_dense.training import saver
from convnext_dense.training.last_good import last_good


@pytest.fixture(autouse=True)
def no_traces():
    with forgotten():
        yield


@pytest.mark.parametrize('loop', [dict(max_iters=8), dict(max_epochs=2)], ids=['iterations', 'epochs'])
@pytest.mark.parametrize('most', [-1, 1])
def test_those_between_planned_ones_are_replaced_also_after_a_resume(loop: dict, most: int, tmp_path: Path) -> None:
    """A run of two planned ones that is stopped after 1, 2, 5 and 7 iterations."""
    options = dict(max_keep_ckpts=most) | (dict(interval=4) if 'max_iters' in loop else {})
    planned = ['iter_4.pth', 'iter_8.pth'] if 'max_iters' in loop else ['epoch_1.pth', 'epoch_2.pth']
    resume, seen = {}, []
    for stop in (1, 2, 5, 7, None):
        made = small_run(tmp_path, loop | resume, **options)

        def save(runner) -> None:
            resume['resume'] = runner.saving.save_now(runner, 'SIGTERM')
            raise KeyboardInterrupt

        if stop is None:
            made.train()
        else:
            made.register_hook(At(stop, save))
            with pytest.raises(KeyboardInterrupt):
                made.train()
        seen.append(sorted(path.name for path in tmp_path.glob('*.pth')))
    kept = planned[-most:] if most > 0 else planned
    assert seen == [
        ['iter_1.pth'],
        ['iter_2.pth'],
        sorted([planned[0], 'iter_5.pth']),
        sorted([planned[0], 'iter_7.pth']),
        kept,
    ]


def test_what_was_planned_at_another_interval_stays(tmp_path: Path) -> None:
    small_run(tmp_path, dict(max_iters=4), max_keep_ckpts=-1).train()
    small_run(tmp_path, dict(max_iters=8, resume=tmp_path / 'iter_4.pth'), max_keep_ckpts=-1, interval=4).train()
    assert names(tmp_path) == {*(f'iter_{number}.pth' for number in (1, 2, 3, 4, 8)), 'last_checkpoint'}


def test_a_new_run_is_not_gone_on_from_another_s(tmp_path: Path, monkeypatch) -> None:
    """Which was longer; a resumed one carries its name on."""
    small_run(tmp_path, dict(max_iters=4)).train()
    new = small_run(tmp_path, dict(max_iters=2))
    lines = watch(new, monkeypatch)
    new.register_hook(At(1, lambda runner: (runner.saving.saver.settle(), seen.append(last_good(tmp_path).path))))
    seen = []
    new.train()
    assert [line for line in lines if 'has checkpoints of another run' in line] and seen == [str(tmp_path / 'iter_1.pth')]
    first, second = (load(tmp_path / f'iter_{number}.pth')['meta']['run'] for number in (4, 2))
    assert first != second == (tmp_path / '.run').read_text()
    (tmp_path / 'iter_2.pth').write_bytes(b'cut')
    assert last_good(tmp_path).path == str(tmp_path / 'iter_1.pth')
    small_run(tmp_path, dict(max_iters=3, resume=tmp_path / 'iter_1.pth')).train()
    assert {load(tmp_path / f'iter_{number}.pth')['meta']['run'] for number in (1, 2, 3)} == {second}
    assert last_good(tmp_path).path == str(tmp_path / 'iter_3.pth')


def test_what_cannot_be_saved_now_is_an_error(tmp_path: Path) -> None:
    made = small_run(tmp_path / 'run', dict(max_iters=4), interval=1, out_dir=str(tmp_path / 'out'))

    def spoil(runner) -> None:
        runner.saving.saver.settle()
        (tmp_path / 'out').rename(tmp_path / 'moved')
        (tmp_path / 'out').touch()
        with pytest.raises(InputError, match='could not write the last one .*; the last good one is .*iter_2.pth'):
            runner.saving.save_now(runner, 'SIGTERM')
        raise KeyboardInterrupt

    made.register_hook(At(2, spoil))
    with pytest.raises(KeyboardInterrupt):
        made.train()


def late_and_full(plain: Callable[[dict, str], None]) -> Callable[[dict, str], None]:
    """`plain`, but that the best of the second iteration cannot be written, which is known only after a while."""

    def write(content: dict, path: str) -> None:
        if path.endswith('best_score_iter_2.pth'):
            time.sleep(0.5)
            raise OSError(errno.ENOSPC, 'No space left on device', path)
        plain(content, path)

    return write


def test_a_best_one_that_fails_late_does_not_undo_a_newer_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(saver, 'write_checkpoint', late_and_full(saver.write_checkpoint))
    best = dict(save_best='score', rule='greater', interval=-1, save_last=False, asynchronous=True)
    made = small_run(tmp_path, dict(max_iters=3), [1.0, 9.0, 5.0], **best)
    made.train()
    assert (
        made.message_hub.get_info('best_score')
        == 5.0
        == load(tmp_path / 'best_score_iter_3.pth')['message_hub']['runtime_info']['best_score']
    )
    assert names(tmp_path) == {'best_score_iter_3.pth'}


def train(rank: int, folder: str) -> None:
    """One of two processes, the first of which cannot write the best of the second iteration, but notices late."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    saver.write_checkpoint = late_and_full(saver.write_checkpoint)
    hook = dict(type=HOOK, by_epoch=False, interval=-1, save_last=False, save_best='score', rule='greater', asynchronous=True)
    made = runner(
        Path(folder, 'run'),
        dict(max_iters=4, val_interval=1),
        default_hooks=dict(checkpoint=hook),
        val_evaluator=dict(type=Score, scores=[1.0, 9.0, 5.0, 4.0]),
        launcher='pytorch',
        cfg=Config(dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None))),
    )
    made.train()
    info = made.message_hub.runtime_info
    Path(folder, str(rank)).write_text(f'{info["best_score"]} {Path(info["best_ckpt"]).name}')
    dist.destroy_process_group()


@pytest.mark.slow
def test_every_process_has_the_same_best(tmp_path: Path) -> None:
    in_two_processes(train, str(tmp_path))
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ['5.0 best_score_iter_3.pth'] * 2


@pytest.mark.parametrize('save_best', ['score', 'auto'])
@pytest.mark.parametrize(('score', 'best'), [(5.0, 3), (9.0, 6)])
def test_a_longer_run_knows_the_best_of_the_last_evaluation(save_best: str, score: float, best: int, tmp_path: Path) -> None:
    """Which was off the interval: no training checkpoint is of after it."""
    options = dict(save_best=save_best, rule='greater')
    small_run(tmp_path, dict(max_iters=3, val_interval=2), [5.0, 7.0], **options).train()
    longer = small_run(tmp_path, dict(max_iters=6, val_interval=6, resume=tmp_path / 'iter_3.pth'), [score], **options)
    longer.train()
    assert [path.name for path in tmp_path.glob('best*')] == [f'best_score_iter_{best}.pth']
    assert longer.message_hub.get_info('best_score') == max(7.0, score)
