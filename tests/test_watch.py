"""A run that shows itself: its pictures and page are there after each validation, and cannot hurt it."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool
from mmengine.config import Config
from mmengine.hooks import IterTimerHook

from convnext_dense.report import watch
from convnext_dense.report.log import PICTURES, read_log
from convnext_dense.report.watch import ReportHook, peak_memory, report_hooks

ITERATIONS = ['train_cfg.max_iters=4', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2']


def train(work_dir: Path, shapes: str, *more: str, config: str = SHAPES, options: list[str] = ITERATIONS):
    given = ['--work-dir', str(work_dir), '--data-root', shapes, '--seed', '0', *more]
    return call_tool('train', config, *given, '--cfg-options', *QUICK, *options)


def test_a_run_and_its_pictures(tmp_path: Path, shapes: str, drawn) -> None:
    done = train(tmp_path, shapes)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / PICTURES).iterdir())
    assert names == [f'{i:08d}_{k}.jpg' for i in (2, 4) for k in range(4)] + [f'truth_{k}.jpg' for k in range(4)]
    page = (tmp_path / 'report.html').read_text()
    assert 'The same pictures over time' in page and (tmp_path / 'curves.png').stat().st_size > 10_000
    log = read_log(tmp_path)
    assert all(100 < value < 100_000 for value in log.values('memory')[1]) and log.values('memory')[0] == [2, 3, 4]
    before = {path.name: path.read_bytes() for path in (tmp_path / PICTURES).glob('*2_*')}
    # A resumed run evaluates first, by the same weights.
    again = train(tmp_path, shapes, '--resume', str(tmp_path / 'iter_2.pth'))
    assert again.returncode == 0, again.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / PICTURES).glob('*2_*')} == before


def test_a_detector(tmp_path: Path, shapes: str, drawn) -> None:
    options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'param_scheduler.0.end=1']
    done = train(tmp_path, shapes, config=SHAPES_COCO, options=options)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / PICTURES).iterdir())) == 8 and 'report' not in done.stderr


def test_what_goes_wrong_is_a_warning_and_the_run_goes_on(tmp_path: Path, shapes: str, monkeypatch) -> None:
    def broken(folder: Path) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(watch, 'renew', broken)
    done = train(tmp_path, shapes)
    (log,) = tmp_path.glob('*/*.log')
    assert done.returncode == 0 and log.read_text().count('the report cannot be drawn') == 1
    assert (tmp_path / 'iter_4.pth').is_file()


def test_drawing_is_not_waiting_for_data(tmp_path: Path, monkeypatch) -> None:
    """MMEngine's timer of the next step begins where drawing ended."""
    monkeypatch.setattr(watch, 'renew', lambda folder: time.sleep(0.2))
    timer = IterTimerHook()
    runner = SimpleNamespace(work_dir=str(tmp_path), hooks=[timer, ReportHook()])
    ReportHook().after_val_epoch(runner)  # before any step: nothing to move
    timer.t = 100.0
    ReportHook().after_val_epoch(runner)
    assert 100.2 <= timer.t < 110


def test_pictures_of_a_run_that_is_begun_anew_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / PICTURES
    folder.mkdir(parents=True)
    for name in ('00000100_0.jpg', '00000900_0.jpg', 'truth_0.jpg'):
        (folder / name).touch()

    class Runner:
        work_dir, iter = str(tmp_path), 500

    ReportHook().before_train(Runner)
    assert sorted(path.name for path in folder.iterdir()) == ['00000100_0.jpg', 'truth_0.jpg']


def test_a_config_that_has_the_hook_keeps_it() -> None:
    assert report_hooks(Config(dict(custom_hooks=[dict(type='ReportHook', pictures=0)]))) == []
    assert report_hooks(Config({})) == [dict(type='ReportHook')] and peak_memory() > 50


def test_json_of_the_log_is_untouched(tmp_path: Path, shapes: str) -> None:
    assert train(tmp_path, shapes).returncode == 0
    (file,) = tmp_path.glob('*/vis_data/scalars.json')
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 4 + 2
