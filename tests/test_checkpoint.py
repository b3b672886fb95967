"""A run whose disk, folder or checkpoints are damaged, from the command line: it goes on, or says what to do."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import torch
from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool, one_line
from test_last_good import cut

from convnext_dense.training.checkpoint_file import verify, write_pointer
from convnext_dense.training.work_dir_lock import work_dir_lock

pytestmark = pytest.mark.slow


def options(data: str, work_dir: Path, *extra: str, iterations: int = 3, config: str = SHAPES) -> list[str]:
    schedule = [f'train_cfg.max_iters={iterations}', 'train_cfg.val_interval=100', 'default_hooks.checkpoint.interval=1']
    schedule = schedule if config == SHAPES else ['train_cfg.max_epochs=2']
    start = [config, '--data-root', data, '--work-dir', str(work_dir), '--seed', '0', '--check-data', 'off', *extra]
    return [*start, '--cfg-options', *QUICK, *schedule]


def weights(path: Path) -> torch.Tensor:
    state = torch.load(path, weights_only=False)['state_dict']
    return torch.cat([value.float().flatten() for value in state.values()])


@pytest.fixture(scope='module')
def trained(shapes: str, tmp_path_factory) -> Path:
    """A finished run of three steps."""
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    done = call_tool('train', *options(shapes, work_dir, '--resume', 'auto'))
    assert done.returncode == 0, done.stderr
    assert f'resume: starts from the beginning, no checkpoint in {work_dir}' in done.stdout
    assert 'is on the disk' in done.stdout and not (work_dir / '.lock').exists()
    return work_dir


@pytest.fixture
def run(trained: Path, tmp_path: Path, real_limits: None) -> Path:  # as `trained` was made
    """A copy of it to spoil, with clocks that went back."""
    run = tmp_path / 'run'
    run.mkdir()
    for name in ('iter_1.pth', 'iter_2.pth', 'iter_3.pth'):
        (run / name).write_bytes((trained / name).read_bytes())
    write_pointer(run, str(run / 'iter_3.pth'))
    for number, name in enumerate(('iter_3.pth', 'iter_2.pth', 'iter_1.pth', 'last_checkpoint')):
        os.utime(run / name, (1000 * number, 1000 * number))
    return run


@pytest.mark.parametrize('resume', [['--resume'], ['--resume', 'auto']])
@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (lambda run: None, ''),
        (lambda run: cut(run / 'iter_3.pth'), 'iter_3.pth is passed over: it is no whole archive of torch.save: cut off'),
        (lambda run: (run / 'iter_3.pth').unlink(), 'iter_3.pth, which is not there'),
        (lambda run: ((run / 'last_checkpoint').unlink(), (run / 'iter_3.pth').unlink()), 'last_checkpoint is passed over'),
    ],
    ids=['whole', 'cut off', 'gone', 'no pointer'],
)
def test_it_goes_on_from_the_last_whole_one(
    spoil: Callable[[Path], object], said: str, resume: list[str], run: Path, trained: Path, shapes: str
) -> None:
    """To the very bits of the run that was not disturbed."""
    spoil(run)
    done = call_tool('train', *options(shapes, run, *resume))
    assert done.returncode == 0, done.stderr
    assert said in done.stdout and ('resume: goes on from' in done.stdout) == bool(said or len(resume) == 2)
    assert f'resumed epoch: 0, iter: {2 if said else 3}' in done.stdout
    assert torch.equal(weights(run / 'iter_3.pth'), weights(trained / 'iter_3.pth'))


def test_a_flipped_byte_is_named_and_the_file_itself_refused(run: Path, shapes: str) -> None:
    data = bytearray((run / 'iter_3.pth').read_bytes())
    data[len(data) // 2] ^= 1
    (run / 'iter_3.pth').write_bytes(data)
    assert 'damaged' in str(verify(run / 'iter_3.pth'))
    done = call_tool('train', *options(shapes, run, '--resume', str(run / 'iter_3.pth')))
    one_line(
        done.returncode, done.stderr, f'got {run / "iter_3.pth"}: .*damaged.*; the newest whole one beside it is .*iter_2.pth'
    )
    done = call_tool('train', *options(shapes, run.parent / 'new', '--resume', str(run)))  # of another folder
    assert done.returncode == 0 and f'resume: goes on from {run / "iter_2.pth"}' in done.stdout


def test_where_every_one_is_damaged(run: Path, shapes: str) -> None:
    for path in run.glob('*.pth'):
        cut(path)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    done = call_tool('train', *options(shapes, run, '--resume'))
    one_line(done.returncode, done.stderr, 'expected a whole checkpoint in .*found none; .*iter_3.pth.*iter_1.pth.*iter_2.pth')
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    done = call_tool('train', *options(shapes, run, '--resume', 'auto', iterations=1))
    one_line(
        done.returncode, done.stderr, 'iter_3.pth is passed over.*would write over them: mend or remove them, .* --work-dir'
    )
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    for path in run.iterdir():
        path.unlink()
    done = call_tool('train', *options(shapes, run, '--resume', 'auto', iterations=1))
    assert done.returncode == 0 and 'starts from the beginning' in done.stdout and verify(run / 'iter_1.pth') is None


def test_checkpoints_in_another_folder(run: Path, shapes: str, tmp_path: Path) -> None:
    """Where the config writes them, with the work directory's name; a pointer is not needed."""
    out = tmp_path / 'out'
    out.mkdir()
    args = options(shapes, tmp_path / 'new/run', '--resume', 'auto')
    run.rename(out / 'run')
    done = call_tool('train', *args, f'default_hooks.checkpoint.out_dir={out}')
    assert done.returncode == 0 and f'resume: goes on from {out / "run/iter_3.pth"}' in done.stdout
    assert not (tmp_path / 'new/run/iter_3.pth').exists()


def test_a_new_run_in_the_folder_of_another(run: Path, shapes: str) -> None:
    """Killed before it has saved, it begins anew: not from the other's, which is longer."""
    code = (
        'import os; from convnext_dense.training.checkpoint_hook import SafeCheckpointHook\n'
        'SafeCheckpointHook.after_train_iter = lambda *args, **kwargs: os._exit(9)\n'
        'from convnext_dense.commands import train; train.main()'
    )
    done = forked.run(['-c', code, *options(shapes, run)])
    assert done.returncode == 9, done.stderr
    assert 'has checkpoints of another run' in done.stdout + done.stderr and not (run / 'last_checkpoint').exists()
    for name in ('iter_1.pth', 'iter_2.pth', 'iter_3.pth'):
        assert torch.load(run / name, weights_only=False)['meta']['run'] != (run / '.run').read_text()
    done = call_tool('train', *options(shapes, run, '--resume', 'auto', iterations=1))
    assert done.returncode == 0 and 'iter_3.pth is passed over: it is of another run' in done.stdout
    assert 'resume: starts from the beginning' in done.stdout
    assert torch.load(run / 'iter_1.pth', weights_only=False)['meta']['run'] == (run / '.run').read_text()


def test_a_checkpoint_of_another_config(run: Path, shapes: str) -> None:
    done = call_tool('train', *options(shapes, run, '--resume', config=SHAPES_COCO))
    one_line(done.returncode, done.stderr, 'iter_3.pth')


def test_a_second_run_in_the_folder_is_refused(run: Path, shapes: str) -> None:
    before = sorted(os.listdir(run))
    with work_dir_lock(run):
        done = call_tool('train', *options(shapes, run, '--resume'))
        one_line(
            done.returncode, done.stderr, f'a folder that no other run is writing to, got {run}, which process {os.getpid()} on'
        )
    assert sorted(os.listdir(run)) == before


def test_by_the_minute(shapes: str, tmp_path: Path) -> None:
    args = options(shapes, tmp_path / 'run', '--save-every-minutes', '0.0001')
    done = call_tool('train', *[arg.replace('checkpoint.interval=1', 'checkpoint.interval=100') for arg in args])
    assert done.returncode == 0 and 'checkpoints: also after every 0.0001 minutes' in done.stdout
    assert done.stdout.count('is on the disk') >= 3 and [*(tmp_path / 'run').glob('*.pth')] == [tmp_path / 'run/iter_3.pth']
    done = call_tool('train', *options(shapes, tmp_path / 'other', '--save-every-minutes', '0'))
    one_line(done.returncode, done.stderr, "--save-every-minutes: expected minutes, a number above 0, got '0'")


def test_a_disk_that_fills_up(run: Path, shapes: str) -> None:
    """Files cannot grow to a checkpoint's size: the run ends, says so, and the last good one stays."""
    code = (
        'import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        f'resource.setrlimit(resource.RLIMIT_FSIZE, ({2**19}, {2**19}))\n'
        'from convnext_dense.commands import train; from convnext_dense.run.command import exit_with_line\n'
        'exit_with_line(train.main, train.GO_ON)'
    )
    before = (run / 'iter_3.pth').read_bytes()
    assert len(before) > 2**19
    args = options(shapes, run, '--resume', iterations=8)
    done = forked.run(['-c', code, *args])
    one_line(
        done.returncode,
        done.stderr[done.stderr.rfind('error: ') :],
        f'could not write 3 in a row .*File too large.*{run / "iter_3.pth"}',
    )
    assert done.stdout.count('is not written') + done.stderr.count('is not written') >= 3
    assert (run / 'iter_3.pth').read_bytes() == before and not list(run.glob('*.partial'))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2**19 and signal.getsignal(signal.SIGXFSZ) is not None
