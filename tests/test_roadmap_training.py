"""Training the walk on the toy set, and going on where it was stopped."""

import json
import signal
import sys
from pathlib import Path

import pytest
from conftest import call_tool

from convnext_dense import InputError
from convnext_dense.benchmark import roadmap_training
from convnext_dense.benchmark.roadmap import rows_of
from convnext_dense.benchmark.roadmap_training import finished, last_miou, result_of, train_rows
from convnext_dense.errors import Stopped


def run_of(place: Path, miou: float = 40.0) -> None:
    """What a run leaves."""
    folder = place / '20260101_000000' / 'vis_data'
    folder.mkdir(parents=True, exist_ok=True)
    lines = [dict(loss=1.0, step=1), dict(mIoU=miou - 5, step=1), dict(mIoU=miou, step=2)]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))


def test_each_network_once_a_seed(tmp_path: Path, monkeypatch) -> None:
    commands = []

    def run(command: list[str], **options) -> int:
        commands.append(command)
        run_of(Path(command[command.index('--work-dir') + 1]), 40.0 + len(commands))
        return 0

    monkeypatch.setattr(roadmap_training, 'finished', run)
    rows, saved = rows_of('tiny', ['original', 'enhanced', 'width']), []
    arguments = (2, 100, 'data', tmp_path, lambda line: None, lambda: saved.append(1))
    train_rows(rows, *arguments)
    assert [row['miou'] for row in rows] == [{'0': 41.0, '1': 42.0}] * 2 + [{'0': 43.0, '1': 44.0}] and len(saved) == 4
    assert [command[command.index('--seed') + 1] for command in commands] == ['0', '1', '0', '1']
    assert {'model.backbone.step=width', 'model.backbone.size=tiny', 'train_cfg.max_iters=100'} <= set(commands[2])
    train_rows(rows_of('tiny', ['width']), *arguments)
    assert len(commands) == 4  # what is done is not done again
    place = tmp_path / 'width_tiny_0'
    for done in (True, False):  # a run that was stopped, too
        for iterations, data, option in (
            (50, 'data', '--iterations: expected 100'),
            (100, 'other', '--data-root: expected .*/data'),
        ):
            with pytest.raises(InputError, match=f'{option}, that of .*width_tiny_0, got .*; take another --out'):
                result_of(place, 'width', 'tiny', 0, iterations, data, lambda line: None)
        (place / 'result.json').write_text('{"miou"' if done else '')  # cut: the run ends anew
    assert result_of(place, 'width', 'tiny', 0, 100, 'data', lambda line: None) == 45.0


def test_earlier_seeds_stay(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(roadmap_training, 'result_of', lambda *arguments: 50.0)
    rows = rows_of('tiny', ['width', 'gelu'])
    rows[0] |= dict(miou={'0': 1.0, '4': 2.0}, iterations=100)
    rows[1] |= dict(miou={'0': 1.0, '4': 2.0}, iterations=30)  # of another budget
    train_rows(rows, 1, 100, 'data', tmp_path, lambda line: None, lambda: None)
    assert [row['miou'] for row in rows] == [{'0': 50.0, '4': 2.0}, {'0': 50.0}]


def test_a_run_that_fails(tmp_path: Path, monkeypatch) -> None:
    def run(command: list[str], stdout, **options) -> int:
        stdout.write('first\nerror: the disk is full\n\n')
        return 2

    monkeypatch.setattr(roadmap_training, 'finished', run)
    with pytest.raises(InputError, match='width, tiny, seed 3: training ended with status 2: error: the disk is full$'):
        result_of(tmp_path / 'run', 'width', 'tiny', 3, 10, 'data', lambda line: None)


def test_a_run_ends_with_its_walk(tmp_path: Path) -> None:
    """Its process is asked to stop, and waited for: it has a checkpoint to write."""
    program = (
        'import pathlib, signal, sys, time\n'
        'def stop(*_):\n    pathlib.Path("stopped").touch()\n    sys.exit(143)\n'
        'signal.signal(signal.SIGTERM, stop)\npathlib.Path("begun").touch()\ntime.sleep(60)'
    )

    def ask(*_) -> None:
        if (tmp_path / 'begun').exists() and not (tmp_path / 'stopped').exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Stopped('stopped', 143)

    before = signal.signal(signal.SIGALRM, ask)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(Stopped):
            finished([sys.executable, '-c', program], cwd=tmp_path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / 'stopped').exists()


def test_logs_without_a_validation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='expected a validation in its logs, found none; remove the folder'):
        last_miou(tmp_path)


@pytest.mark.slow
def test_through_the_command_line(tmp_path: Path, shapes: str) -> None:
    """A run that was stopped after its first checkpoint goes on; the figure has its mIoU."""
    out = tmp_path / 'walk'
    arguments = (
        '--train',
        '--steps',
        'downsample',
        '--seeds',
        '1',
        '--iterations',
        '2',
        '--data-root',
        shapes,
        '--out',
        str(out),
    )
    done = call_tool('roadmap', *arguments)
    assert done.returncode == 0, done.stderr
    place = out / 'runs' / 'downsample_tiny_0'
    miou = json.loads((place / 'result.json').read_text())['miou']
    assert f'{miou:.2f} (1)' in done.stdout and (out / 'roadmap.png').is_file()
    (place / 'result.json').unlink()
    (place / 'iter_2.pth').unlink()
    again = call_tool('roadmap', *arguments)
    assert again.returncode == 0, again.stderr
    assert json.loads((place / 'result.json').read_text())['miou'] == miou
    assert 'resumed' in (place / 'train.log').read_text().lower()
