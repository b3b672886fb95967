"""Checkpoints of real, tiny runs: what is written, in which order, what is kept, and what is done when it fails."""

import errno
import os
import re
import shutil
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from conftest import forgotten
from mmengine.hooks import EMAHook, Hook
from small_runs import names, small_run
from test_checkpoint_file import largest_file
from tiny_runs import equal, state

from convnext_dense.errors import InputError
from convnext_dense.training import checkpoint_hook, saver
from convnext_dense.training.checkpoint_file import verify
from convnext_dense.training.checkpoint_hook import SafeCheckpointHook
from convnext_dense.training.last_good import Found, last_good


@pytest.fixture(autouse=True)
def no_traces():
    with forgotten():
        yield


def load(path: Path) -> dict:
    return torch.load(path, weights_only=False)


class At(Hook):
    """Does something after an iteration, once the checkpoint hook has."""

    priority = 'LOWEST'

    def __init__(self, done: int, do) -> None:
        self.done, self.do = done, do

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.done:
            self.do(runner)


def test_every_file_is_whole_and_the_last_two_are_kept(tmp_path: Path) -> None:
    made = small_run(tmp_path, dict(max_iters=5), max_keep_ckpts=2, interval=2)
    made.train()
    assert made.saving.seconds > 0
    assert names(tmp_path) == {'iter_4.pth', 'iter_5.pth', 'last_checkpoint'}
    assert last_good(tmp_path) == Found(str(tmp_path / 'iter_5.pth'))
    content = load(tmp_path / 'iter_5.pth')
    assert content['meta']['iter'] == 5 and content['message_hub']['runtime_info']['last_ckpt'].endswith('iter_5.pth')


def test_the_order_is_write_then_pointer_then_prune(tmp_path: Path, monkeypatch) -> None:
    """At every step of the second save, the pointer names a whole file."""
    seen = []
    for name in ('write_checkpoint', 'write_pointer'):
        module = saver if name == 'write_checkpoint' else checkpoint_hook
        plain = getattr(module, name)

        def watched(first, second, name=name, plain=plain) -> None:
            seen.append((name, sorted(names(tmp_path) - {'last_checkpoint'}), last_good(tmp_path).path))
            plain(first, second)

        monkeypatch.setattr(module, name, watched)
    small_run(tmp_path, dict(max_iters=2), max_keep_ckpts=1).train()
    first = str(tmp_path / 'iter_1.pth')
    assert seen[2:] == [
        ('write_checkpoint', ['iter_1.pth'], first),
        ('write_pointer', ['iter_1.pth', 'iter_2.pth'], first),
    ]
    assert names(tmp_path) == {'iter_2.pth', 'last_checkpoint'}


@pytest.mark.parametrize('loop', [dict(max_iters=3), dict(max_epochs=1)])
def test_beside_training_or_not_the_bytes_are_equal(loop: dict, tmp_path: Path, monkeypatch) -> None:
    """And what is written is the state of its iteration, whatever training did meanwhile."""
    monkeypatch.setattr(
        'mmengine.runner.runner.time', Namespace(strftime=lambda *args: 'now', localtime=time.localtime, time=time.time)
    )
    monkeypatch.setattr('convnext_dense.training.run_id.secrets.token_hex', lambda size: 'one')
    monkeypatch.setattr('mmengine.hooks.iter_timer_hook.time', Namespace(time=lambda: 0.0))  # the log keeps seconds
    plain = saver.write_checkpoint

    def slow(content: dict, path: str) -> None:
        time.sleep(0.2)
        plain(content, path)

    files = []
    for beside in (True, False):
        made = small_run(tmp_path / 'run', loop, asynchronous=beside)
        made._experiment_name = 'one'
        monkeypatch.setattr(saver, 'write_checkpoint', slow if beside else plain)
        made.train()
        for handler in made.logger.handlers:
            handler.close()
        files.append({path.name: path.read_bytes() for path in (tmp_path / 'run').glob('*.pth')})
        shutil.rmtree(tmp_path / 'run')
    assert files[0].keys() == files[1].keys() and len(files[0]) == loop.get('max_iters', 1)
    assert files[0] == files[1]


def test_where_memory_is_short_training_waits_and_says_so(tmp_path: Path, monkeypatch, logged) -> None:
    monkeypatch.setattr(saver, 'available_memory', lambda: 100)
    made = small_run(tmp_path, dict(max_iters=2))
    lines = watch(made, monkeypatch)
    made.train()
    assert len([line for line in lines if 'training waits for the writing' in line]) == 1
    assert len([line for line in lines if 'is on the disk' in line and 'while training waited' in line]) == 2


def watch(made, monkeypatch) -> list[str]:
    """The lines of a run's log."""
    lines: list[str] = []
    for kind in ('info', 'warning', 'error'):
        monkeypatch.setattr(made.logger, kind, lambda text, *args: lines.append(text))
    return lines


def test_the_best_is_written_before_the_previous_is_removed(tmp_path: Path, monkeypatch) -> None:
    seen, remove = [], os.remove
    monkeypatch.setattr(os, 'remove', lambda path: (seen.append((Path(path).name, names(tmp_path))), remove(path)))
    best = dict(save_best='score', rule='greater', interval=2)
    made = small_run(tmp_path, dict(max_iters=4), [1.0, 3.0, 2.0, 4.0], **best)
    saves = []
    plain = made.save_checkpoint
    monkeypatch.setattr(made, 'save_checkpoint', lambda out, name, **options: (saves.append(name), plain(out, name, **options)))
    made.train()
    assert names(tmp_path) == {'iter_2.pth', 'iter_4.pth', 'best_score_iter_4.pth', 'last_checkpoint'}
    assert [name for name, _ in seen] == ['best_score_iter_1.pth', 'best_score_iter_2.pth']
    assert 'best_score_iter_2.pth' in seen[0][1] and 'best_score_iter_4.pth' in seen[1][1]
    # mmengine writes iter_2 a second time, after the evaluation
    assert saves == ['best_score_iter_1.pth', 'iter_2.pth', 'best_score_iter_2.pth', 'iter_4.pth', 'best_score_iter_4.pth']
    hub = load(tmp_path / 'iter_4.pth')['message_hub']['runtime_info']
    assert hub['best_score'] == 3.0 and hub['best_ckpt'] == str(tmp_path / 'best_score_iter_2.pth')
    assert 'optimizer' not in load(tmp_path / 'best_score_iter_4.pth')


def test_a_resumed_run_knows_the_best_and_what_it_has_kept(tmp_path: Path) -> None:
    options = dict(save_best='score', rule='greater', max_keep_ckpts=2)
    small_run(tmp_path, dict(max_iters=3), [5.0, 1.0, 1.0], **options).train()
    (tmp_path / 'iter_9.pth.partial').touch()
    (tmp_path / 'iter_9.pth').touch()  # of a later life: not counted until it is written again
    small_run(tmp_path, dict(max_iters=4, resume=tmp_path / 'iter_3.pth'), [4.0, 6.0], **options).train()
    assert names(tmp_path) == {'iter_3.pth', 'iter_4.pth', 'iter_9.pth', 'best_score_iter_4.pth', 'last_checkpoint'}


def test_several_best_ones(tmp_path: Path) -> None:
    made = small_run(tmp_path, dict(max_iters=2), [1.0, 2.0], save_best=['score', 'other'], rule='greater')
    metric = made._val_evaluator['type'] if isinstance(made._val_evaluator, dict) else None
    plain = metric.compute_metrics
    metric.compute_metrics = lambda self, results: dict(plain(self, results), other=-1.0)
    try:
        made.train()
    finally:
        metric.compute_metrics = plain
    assert {'best_score_iter_2.pth', 'best_other_iter_1.pth'} <= names(tmp_path)
    assert made.message_hub.get_info('best_score_score') == 2.0


def test_every_so_many_minutes(tmp_path: Path, monkeypatch) -> None:
    """In a run by epochs named by iterations; superfluous after the next planned one."""
    now = [0.0]
    monkeypatch.setattr(checkpoint_hook.time, 'monotonic', lambda: now[0])
    made, seen = small_run(tmp_path, dict(max_epochs=2, hooks=[]), save_every_minutes=1, max_keep_ckpts=1), []

    def look(runner) -> None:
        runner.saving.saver.settle()
        seen.append((names(tmp_path), [load(path)['meta'] for path in tmp_path.glob('iter_*.pth')]))

    for done, do in ((2, lambda runner: now.__setitem__(0, 61.0)), (5, lambda runner: now.__setitem__(0, 121.0)), (6, look)):
        made.register_hook(At(done, do))
    made.train()
    ((files, metas),) = seen
    assert files == {'epoch_1.pth', 'iter_6.pth', 'last_checkpoint'}  # not iter_3
    assert [(meta['iter'], meta['epoch'], meta['between']) for meta in metas] == [(6, 1, True)]
    assert names(tmp_path) == {'epoch_2.pth', 'last_checkpoint'}
    assert (load(tmp_path / 'epoch_2.pth')['meta']['iter'], load(tmp_path / 'epoch_2.pth')['meta']['epoch']) == (8, 2)


@pytest.mark.parametrize('loop', [dict(max_iters=8), dict(max_epochs=2)])
def test_saving_now_and_going_on_there_gives_the_same_bits(loop: dict, tmp_path: Path) -> None:
    whole = small_run(tmp_path / 'whole', loop, interval=-1, save_last=False)
    whole.train()
    stopped, told = small_run(tmp_path / 'run', loop, interval=-1, save_last=False), []

    def stop(runner) -> None:
        told.extend(runner.saving.save_now(runner, 'SIGTERM') for _ in range(2))
        assert verify(told[0]) is None
        raise KeyboardInterrupt

    stopped.register_hook(At(5, stop))
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert told == [str(tmp_path / 'run/iter_5.pth')] * 2
    after = small_run(tmp_path / 'run', loop | dict(resume=told[0]), interval=-1, save_last=False)
    after.train()
    assert after.iter == 8 and equal(state(after), state(whole))


def test_saving_now_in_an_evaluation_is_of_before_it(tmp_path: Path) -> None:
    """With averaged weights in the model's place."""
    made = small_run(tmp_path, dict(max_iters=3, hooks=[dict(type='EMAHook')]), [1.0, 1.0, 1.0], interval=-1, save_last=False)
    ema = next(hook for hook in made.hooks if isinstance(hook, EMAHook))
    before, told = [], []

    class InEvaluation(Hook):
        def before_val(self, runner) -> None:
            before[:] = [value.clone() for value in runner.model.state_dict().values()]

        def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter == 2 and batch_idx == 1:
                told.append(runner.saving.save_now(runner, 'SIGTERM', evaluating=True))
                saved = load(told[0])
                assert saved['meta']['iter'] == 2
                average = saved['ema_state_dict']  # where the weights themselves are
                assert all(torch.equal(a, average[f'module.{n}']) for n, a in zip(runner.model.state_dict(), before))

    made.register_hook(InEvaluation())
    made.train()
    assert told == [str(tmp_path / 'iter_2.pth')] and ema.ema_model.steps == 3


def test_unfinished_gradients_are_collected_for_each_save(tmp_path: Path) -> None:
    from tiny_runs import runner

    hook = dict(type='SafeCheckpointHook', by_epoch=False, interval=1)
    runner(tmp_path, dict(max_iters=3), accumulate=2, default_hooks=dict(checkpoint=hook)).train()
    assert (
        'accumulated' in load(tmp_path / 'iter_1.pth')['resume']
        and 'accumulated' not in load(tmp_path / 'iter_2.pth')['resume']
    )


@pytest.mark.parametrize('beside', [True, False])
def test_a_full_disk_is_survived(beside: bool, tmp_path: Path, monkeypatch) -> None:
    """Two saves fail, the third does not: training goes on, and the last good one is kept until then."""
    limits = []

    def full(runner) -> None:
        limits.append(largest_file(3000))
        limits[-1].__enter__()

    def space(runner) -> None:
        runner.saving.saver._writer._job and runner.saving.saver._writer._job.join()
        assert names(tmp_path) == {'iter_2.pth', 'last_checkpoint'} and last_good(tmp_path).path == str(tmp_path / 'iter_2.pth')
        limits.pop().__exit__(None, None, None)

    made = small_run(tmp_path, dict(max_iters=5), max_keep_ckpts=1, asynchronous=beside)
    made.logger.handlers[:] = [one for one in made.logger.handlers if not hasattr(one, 'baseFilename')]
    made.visualizer._vis_backends.clear()  # logs are files, too
    lines = watch(made, monkeypatch)
    made.register_hook(At(2, lambda runner: (runner.saving.saver.settle(), full(runner))))
    made.register_hook(At(4, space))
    made.train()
    assert names(tmp_path) == {'iter_5.pth', 'last_checkpoint'}
    failed = [line for line in lines if 'is not written' in line]
    assert len(failed) == 2 and f'{os.strerror(errno.EFBIG)}; the limit of file sizes' in failed[0]
    assert f'{tmp_path / "iter_2.pth"} is kept; training goes on, and the next save tries again' in failed[1]


@pytest.mark.parametrize(('beside', 'most', 'done'), [(True, 2, 3), (False, 2, 3), (False, 1, 2), (True, 1, 3), (True, 9, 6)])
def test_a_run_that_cannot_save_ends(beside: bool, most: int, done: int, tmp_path: Path) -> None:
    """After so many failures in a row; at the end of training after one."""

    def spoil(runner) -> None:
        runner.saving.saver.settle()
        (tmp_path / 'out/run').rename(tmp_path / 'moved')
        (tmp_path / 'out').rmdir()
        (tmp_path / 'out').write_text('a file')

    made = small_run(tmp_path / 'run', dict(max_iters=6), max_failures=most, asynchronous=beside, out_dir=str(tmp_path / 'out'))
    made.register_hook(At(1, spoil))
    with pytest.raises(InputError, match='expected to write checkpoints, could not write .* go on with --resume') as caught:
        made.train()
    assert f'the last good one is {tmp_path / "out/run/iter_1.pth"}' in str(caught.value)
    assert made.iter + (most < 9) == done
    assert re.search('Not a directory|File exists', str(caught.value))


def test_a_folder_that_is_gone_is_made_again(tmp_path: Path) -> None:
    made = small_run(tmp_path / 'run', dict(max_iters=3), out_dir=str(tmp_path / 'out'))
    made.register_hook(At(2, lambda runner: (runner.saving.saver.settle(), shutil.rmtree(tmp_path / 'out'))))
    made.train()
    assert names(tmp_path / 'out/run') == {'iter_3.pth'} and last_good(tmp_path / 'run').path == str(
        tmp_path / 'out/run/iter_3.pth'
    )


def test_a_best_one_that_cannot_be_written_is_not_the_best(tmp_path: Path, monkeypatch) -> None:
    plain = saver.write_checkpoint

    def write(content: dict, path: str) -> None:
        if path.endswith('best_score_iter_2.pth'):
            raise OSError(errno.ENOSPC, 'No space left on device', path)
        plain(content, path)

    monkeypatch.setattr(saver, 'write_checkpoint', write)
    made = small_run(tmp_path, dict(max_iters=3), [1.0, 9.0, 5.0], save_best='score', rule='greater')
    made.train()
    assert made.message_hub.get_info('best_score') == 5.0 and 'best_score_iter_3.pth' in names(tmp_path)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(save_every_minutes=0), 'save_every_minutes: expected a number above 0, or None, got 0'),
        (dict(save_every_minutes='1'), "save_every_minutes: expected a number above 0, or None, got '1'"),
        (dict(asynchronous='no'), "asynchronous: expected 'auto', True or False, got 'no'"),
        (dict(max_failures=0), 'max_failures: expected a whole number from 1 up, got 0'),
    ],
)
def test_options_that_are_none(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SafeCheckpointHook(**options)
