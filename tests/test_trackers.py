"""Trackers beside a run: whatever they do, the run goes on, its log is whole, and a resumed one continues the same curve."""

from __future__ import annotations

import itertools
import json
import logging
import logging.config
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from conftest import QUICK, ROOT, SHAPES, forgotten
from forked import Forked
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from tiny_runs import equal, runner, state
from tracker_sets import Memory, module, training

from convnext_dense.errors import InputError, Stopped
from convnext_dense.training import tracker_kinds, tracker_queue
from convnext_dense.training.background import wait_for_writers
from convnext_dense.training.stopping import StopHook
from convnext_dense.training.trackers import TrackerBackend, close_trackers, keep_log_files

COUNT = itertools.count()
SAVES = dict(
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=2),
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
)


@pytest.fixture(autouse=True)
def served(monkeypatch) -> Iterator[dict[str, Memory]]:
    """The runs of the tracker in memory. The environment is as it was afterwards."""
    found: dict[str, Memory] = {}
    monkeypatch.setattr(Memory, 'served', found)
    monkeypatch.setattr(tracker_queue, 'PAUSES', (0.01, 0.01))
    with patch.dict(os.environ):
        os.environ.pop('MLFLOW_TRACKING_URI', None)
        yield found
    close_trackers()


def run(work_dir: Path, loop: dict[str, Any], *hooks: Any, backend: str = 'Memory', **given: Any) -> Runner:
    """A tiny run that has trained, with a tracker in memory beside its log."""
    backends = [dict(type='LocalVisBackend'), dict(type='TrackerBackend', backend=dict(type=backend), name='mem')]
    visualizer = dict(type='Visualizer', vis_backends=backends)
    options = dict(default_hooks=SAVES, custom_hooks=[StopHook(), *hooks], visualizer=visualizer, log_level='INFO')
    options['experiment_name'] = f'trackers_{next(COUNT)}'  # MMEngine gives those of one name the same visualizer
    made = runner(work_dir, loop, **options | given)
    made.train()
    return made


def logged(made: Runner) -> list[dict[str, Any]]:
    """What the run's own log has of its training."""
    rows = [json.loads(line) for line in Path(made._log_dir, 'vis_data/scalars.json').read_text().splitlines()]
    return [row for row in rows if 'iter' in row]


def test_a_run_and_its_tracker(tmp_path: Path, served) -> None:
    made = run(tmp_path / 'work', dict(max_iters=6, val_interval=3))
    (tracker,) = served.values()
    assert tracker.curve('loss') == [(row['step'], row['loss']) for row in logged(made)]
    assert [step for step, _ in tracker.curve('loss')] == [1, 2, 3, 4, 5, 6] and tracker.ends == [True]
    assert tracker.curve('score') == [(3, 1.0), (6, 1.0)]
    assert len(tracker.curve('val/time')) == 2 and len(tracker.curve('time')) == 6, 'each under a name of its own'


@pytest.mark.parametrize('backend', ['Memory', 'Counted'])
def test_a_stopped_run_goes_on_in_the_same_curve(tmp_path: Path, served, backend: str) -> None:
    class Stops(StopHook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter == 4:
                raise Stopped('killed', 1)  # no checkpoint of it is written

    with pytest.raises(Stopped):
        run(tmp_path, dict(max_iters=7), Stops(), backend=backend)
    wait_for_writers()  # its checkpoint of iteration 4 may be on the way to the disk
    close_trackers()  # as the command does
    (tracker,) = served.values()
    assert len(tracker.curve('loss')) in (4, 5) and tracker.ends == [False]
    run(tmp_path, dict(max_iters=7), backend=backend, resume=True, load_from=str(tmp_path / 'iter_4.pth'))
    whole = run(tmp_path / 'whole', dict(max_iters=7))
    assert len(served) == 2 and tracker.ends == [False, True]
    assert tracker.curve('loss') == [(row['step'], row['loss']) for row in logged(whole)]
    run(tmp_path, dict(max_iters=3), backend=backend)
    assert len(served) == 3, 'a run that is begun anew'
    assert len(tracker.curve('loss')) == 7


def test_the_run_does_not_notice(tmp_path: Path, served, monkeypatch) -> None:
    """Weights, optimiser and generators, by a tracker that fails at everything and one that never answers."""
    whole = runner(tmp_path / 'whole', dict(max_iters=5))
    whole.train()
    after = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()
    gate = threading.Event()
    for name, what in (('raises', lambda *_, **__: 1 / 0), ('stands', lambda *_, **__: gate.wait(10))):
        monkeypatch.setattr(Memory, 'begin', what)
        begun = time.monotonic()
        backend = dict(type='TrackerBackend', backend=dict(type='Memory'), wait=0.1)
        made = run(tmp_path / name, dict(max_iters=5), visualizer=dict(type='Visualizer', vis_backends=[backend]))
        assert time.monotonic() - begun < 8 and equal(state(made), state(whole))
        assert (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()) == after
    gate.set()


def backend(work_dir: Path, kind: str = 'Memory', config: dict[str, Any] | None = None, **given: Any) -> TrackerBackend:
    """As a visualizer makes it."""
    log = work_dir / '20260102_030405/vis_data'
    made = TrackerBackend(str(log), dict(type=kind), **given)
    if config is not None:
        made.add_config(Config(dict(work_dir=str(work_dir), **config)))
    return made


def test_entries_are_as_they_were_when_given(tmp_path: Path, served, monkeypatch) -> None:
    pictures = []
    monkeypatch.setattr(Memory, 'add_image', lambda self, name, image, step: pictures.append(image.sum()), raising=False)
    made = backend(training(tmp_path / 'work', 'a'), config=dict(resume=False, a=[1]))
    scalars, image = dict(loss=torch.tensor(2.0), iter=3), np.ones((2, 2, 3), np.uint8)
    made.config.a.append(2)
    made.add_scalars(scalars, 3, file_path='x.json')
    scalars['loss'] += 5
    made.add_image('scene', image, 3)
    image[:] = 0
    made.add_scalar('lr', np.float32(0.5), np.int64(4))
    made.add_scalar('words', 'none', 4)
    made.close()
    (tracker,) = served.values()
    assert tracker.curve('loss') == [(3, 2.0)] and tracker.curve('lr') == [(4, 0.5)] and pictures == [12]
    assert list(tracker.values) == ['loss', 'iter', 'lr']
    assert [config.work_dir for config in tracker.configs] == [str(tmp_path / 'work')]
    assert time.time() - 100 < tracker.values['loss'][0][2] < time.time()


def test_where_without_a_config(tmp_path: Path) -> None:
    made = backend(training(tmp_path / 'work', 'a'))
    assert made.experiment is None
    made.add_scalar('loss', 1.0, 1)
    made.close()
    assert (tmp_path / 'work/trackers/memory.json').is_file() and made.experiment is made.writer.tracker.experiment
    other = TrackerBackend(str(tmp_path / 'other'), dict(type='Memory'), name='x')
    other.add_scalar('loss', 1.0, 1)
    other.close()
    assert (tmp_path / 'other/trackers/x.json').is_file()


def test_one_that_is_not_installed(tmp_path: Path, logged) -> None:
    with patch.dict(sys.modules):
        sys.modules.pop('wandb', None)
        with patch.object(tracker_kinds, 'find_spec', lambda name: None):
            made = backend(tmp_path, 'WandbVisBackend', dict(resume=False))
            for step in range(3):
                made.add_scalar('loss', 1.0, step)
            made.close()
    (line,) = [line for line in logged if 'wandb' in line]
    assert line.startswith('tracker wandb: not installed (pip install wandb); the run goes on without it; the log is in ')
    assert line.endswith('/20260102_030405/vis_data') and not (tmp_path / 'trackers').exists()


def test_one_that_cannot_be_imported(tmp_path: Path, logged, monkeypatch) -> None:
    monkeypatch.setattr(tracker_kinds, 'import_module', lambda name: 1 / 0)
    module(monkeypatch, 'wandb')
    made = backend(tmp_path, 'WandbVisBackend', dict(resume=False))
    made.add_scalar('loss', 1.0, 1)
    made.close()
    (line,) = [line for line in logged if 'wandb' in line]
    assert 'tracker wandb: ZeroDivisionError: division by zero; the run goes on' in line


def test_one_whose_server_refuses(tmp_path: Path, logged) -> None:
    """At once for the run, and one line."""
    pytest.importorskip('mlflow')
    os.environ.update(MLFLOW_TRACKING_URI='http://127.0.0.1:9', MLFLOW_HTTP_REQUEST_MAX_RETRIES='0')
    made = backend(tmp_path, 'MLflowVisBackend', dict(resume=False))
    begun = time.monotonic()
    for step in range(100):
        made.add_scalars(dict(loss=1.0, iter=step), step)
    assert time.monotonic() - begun < 1
    made.close()
    assert time.monotonic() - begun < 20
    (line,) = [line for line in logged if 'tracker' in line]
    assert line.startswith('tracker mlflow: MlflowException: ') and 'the run goes on without it' in line


def test_one_that_raises_in_the_middle(tmp_path: Path, served, logged, monkeypatch) -> None:
    add = Memory.add_scalars
    monkeypatch.setattr(
        Memory, 'add_scalars', lambda self, values, step, at: 1 / 0 if step > 3 else add(self, values, step, at=at)
    )
    made = backend(tmp_path, config=dict(resume=False))
    for step in range(20):
        made.add_scalar('loss', 1.0, step)
    made.close()
    (tracker,) = served.values()
    assert [step for step, _ in tracker.curve('loss')] == [0, 1, 2, 3] and tracker.ends
    (line,) = [line for line in logged if 'ZeroDivisionError' in line]
    assert line.startswith('tracker memory: ZeroDivisionError: division by zero; the run goes on without it')


def test_an_end_of_the_process_closes_it(tmp_path: Path) -> None:
    """Where an exception goes through the run, which then has no end of its own."""
    code = (
        'import pathlib, sys\n'
        'sys.path[:0] = sys.argv[1:3]\n'
        'from tracker_sets import Memory\n'
        'from convnext_dense.training.trackers import TrackerBackend\n'
        'Memory.end = lambda self, finished: pathlib.Path(sys.argv[3], "end").write_text(str(finished))\n'
        'TrackerBackend(sys.argv[3], dict(type="Memory")).add_scalar("loss", 1.0, 1)\n'
        'raise KeyError\n'
    )
    process = Forked(['-c', code, str(ROOT), str(ROOT / 'tests'), str(tmp_path)], stderr=os.open(os.devnull, os.O_WRONLY))
    assert process.wait(60) != 0 and (tmp_path / 'end').read_text() == 'False'


def test_the_log_file_outlives_what_configures_logging(tmp_path: Path) -> None:
    """MLflow does, when it is imported, and Alembic, when MLflow makes a database."""
    with forgotten():
        logger = MMLogger.get_instance('test_trackers', log_file=str(tmp_path / 'a.log'))
        logger.info('first')
        keep_log_files(logger)
        logging.config.dictConfig(dict(version=1, disable_existing_loggers=False))
        for line in ('second', 'third'):
            logger.info(line)
    lines = (tmp_path / 'a.log').read_text().splitlines()
    assert [line.rpartition(' ')[2] for line in lines] == ['first', 'second', 'third']


@pytest.mark.parametrize('given', [dict(type='Nonsense'), {}, dict(type='TrackerBackend'), dict(type=int)])
def test_a_backend_that_is_none(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r'TrackerBackend.backend: expected a dict with the type of a backend'):
        TrackerBackend('x', given)


def train(folder: Path, shapes: str, names: list[str], *more: str) -> Forked:
    options = [*QUICK, 'train_cfg.max_iters=12', 'train_cfg.val_interval=6', 'default_hooks.checkpoint.interval=4']
    argv = [str(ROOT / 'tools/train.py'), SHAPES, '--data-root', shapes, '--work-dir', str(folder / 'work'), '--seed', '3']
    argv += ['--check-data', 'off', '--tracker', *names, *more, '--cfg-options', *options]
    log = os.open(folder / 'log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        return Forked(argv, log, log)
    finally:
        os.close(log)


@pytest.mark.slow
def test_a_killed_run_has_one_curve(tmp_path: Path, shapes: str) -> None:
    """By the command: killed behind its second checkpoint, and resumed."""
    names = [name for name in ('tensorboard', 'mlflow') if find_spec(name)] or pytest.skip('neither is installed')
    process = train(tmp_path, shapes, names)
    while '[10/12]' not in (tmp_path / 'log').read_text():
        assert process.poll() is None, (tmp_path / 'log').read_text()[-2000:]
        time.sleep(0.01)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert train(tmp_path, shapes, names, '--resume', 'auto').wait(300) == 0, (tmp_path / 'log').read_text()[-2000:]
    if 'tensorboard' in names:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        (folder,) = (tmp_path / 'work/trackers/tensorboard').iterdir()
        found = EventAccumulator(str(folder), size_guidance=dict(scalars=0)).Reload()
        assert [event.step for event in found.Scalars('loss')] == list(range(1, 13))
        assert [event.step for event in found.Scalars('mIoU')] == [6, 12]
    if 'mlflow' in names:
        from mlflow import MlflowClient

        from convnext_dense.training.tracker_mlflow import database

        client = MlflowClient(database(tmp_path / 'work/trackers/mlflow'))
        (one,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
        assert [row.step for row in client.get_metric_history(one.info.run_id, 'loss')] == list(range(1, 13))
        assert one.info.status == 'FINISHED'
    lines = (tmp_path / 'log').read_text().splitlines()
    assert not [line for line in lines if 'WARNING' in line and 'tracker' in line]
