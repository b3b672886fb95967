"""TensorBoard's files read back; what ClearML and Aim are asked for, which need not be installed."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import pytest
from mmengine.config import Config
from torch import nn
from tracker_sets import module

from convnext_dense.training import tracker_kinds
from convnext_dense.training.tracker_kinds import (
    PROJECT,
    AimRun,
    ClearMLRun,
    NotInstalledError,
    TensorboardRun,
    TrackerRun,
    plain,
    with_own_random,
)

CONFIG = Config(dict(a=1, b=dict(c=[2, dict(d=nn.Conv2d)])))
PLAIN = dict(a=1, b=dict(c=[2, dict(d='torch.nn.modules.conv.Conv2d')]))


# TensorBoard


def tensorboard(folder: Path, run: str | None = None) -> TensorboardRun:
    pytest.importorskip('tensorboard')
    made = TensorboardRun(str(folder))
    assert made.begin('work', run) == made._folder.name
    return made


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance=dict(scalars=0)).Reload()


def test_tensorboard_is_read_back(tmp_path: Path) -> None:
    made = tensorboard(tmp_path)
    made.add_config(CONFIG)
    image = np.zeros((6, 9, 3), np.uint8)
    image[..., 1] = 200
    made.add_image('scene', image, 4)
    for step in (1, 2):
        made.add_scalars({'loss': 1 / step, 'val/time': 0.5}, step, at=0.0)
    found = events(tmp_path / made._folder)  # which is not closed yet
    assert [(event.step, event.value) for event in found.Scalars('loss')] == [(1, 1.0), (2, 0.5)]
    assert made.steps() == {'loss': {1, 2}, 'val/time': {1, 2}}
    (picture,) = found.Images('scene')
    assert (picture.step, picture.width, picture.height) == (4, 9, 6)
    assert 'conv.Conv2d' in found.Tensors('config/text_summary')[0].tensor_proto.string_val[0].decode()
    made.end(True)


def test_tensorboards_runs_are_folders(tmp_path: Path) -> None:
    first, second = tensorboard(tmp_path), tensorboard(tmp_path)
    assert first._folder != second._folder and {first._folder, second._folder} == set(tmp_path.iterdir())
    first.add_scalars(dict(loss=1.0), 1)
    again = tensorboard(tmp_path, first._folder.name)
    again.add_scalars(dict(loss=2.0), 2)
    assert again.steps() == dict(loss={1, 2}) and second.steps() == {}
    for one in (first, second, again):
        one.end(True)


def test_tensorboard_keeps_what_a_killed_process_wrote(tmp_path: Path) -> None:
    tensorboard(tmp_path / 'here').end(True)  # imported
    child = os.fork()
    if not child:
        made = tensorboard(tmp_path / 'killed')
        for step in range(5):
            made.add_scalars(dict(loss=1.0), step)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    (folder,) = (tmp_path / 'killed').iterdir()
    again = tensorboard(tmp_path / 'killed', folder.name)
    assert again.steps() == dict(loss=set(range(5)))
    again.end(True)


# ClearML and Aim


def test_clearml_begins_goes_on_and_is_written_to(tmp_path: Path, monkeypatch) -> None:
    asked, seeds, calls = [], [], []

    class Task:
        set_random_seed = seeds.append

        @staticmethod
        def init(**given: Any) -> SimpleNamespace:
            asked.append(given)
            return SimpleNamespace(
                id=given['reuse_last_task_id'] or 'new',
                get_logger=lambda: SimpleNamespace(report_scalar=lambda **row: calls.append(row)),
                connect_configuration=lambda config, name: calls.append((name, config)),
                get_reported_scalars=lambda: dict(loss=dict(loss=dict(x=[1, 2.0], y=[0.5, 0.4]))),
                close=lambda: calls.append('closed'),
            )

    monkeypatch.delenv('CLEARML_PROJECT', raising=False)
    module(monkeypatch, 'clearml', Task=Task)
    made = ClearMLRun(str(tmp_path))
    assert made.begin('work', None) == 'new' and ClearMLRun(str(tmp_path)).begin('work', 'abc') == 'abc'
    assert seeds == [None, None], "the run's generators are not seeded"
    shown = [(one['project_name'], one['task_name'], one['reuse_last_task_id'], one['continue_last_task']) for one in asked]
    assert shown == [(PROJECT, 'work', False, False), (PROJECT, 'work', 'abc', 0)] and shown[1][3] is not False
    assert not any(one['auto_connect_frameworks'] or one['auto_resource_monitoring'] for one in asked)
    made.add_config(CONFIG)
    made.add_scalars(dict(loss=1.0), 3, at=0.0)
    made.end(True)
    assert calls == [('config', PLAIN), dict(title='loss', series='loss', value=1.0, iteration=3), 'closed']
    assert made.steps() == dict(loss={1, 2}) and not ClearMLRun.counted


def test_aim_begins_goes_on_and_is_written_to(tmp_path: Path, monkeypatch) -> None:
    asked, calls = [], []

    class Run(dict):
        def __init__(self, **given: Any) -> None:
            asked.append(given)
            self.hash, self.name = given['run_hash'] or 'new', None
            self.track = lambda **row: calls.append(row)
            self.close = lambda: calls.append('closed')
            data = SimpleNamespace(items_list=lambda: ([1, 2], ([0.5, 0.4], [None] * 2, [0.0] * 2)))
            self.metrics = lambda: [SimpleNamespace(name='loss', data=data)]

    module(monkeypatch, 'aim', Run=Run)
    made = AimRun(str(tmp_path / 'aim'))
    assert made.begin('work', None) == 'new' and made._aim_run.name == 'work'
    assert AimRun(str(tmp_path / 'aim')).begin('work', 'abc') == 'abc'
    assert [(one['repo'], one['run_hash'], one.get('force_resume')) for one in asked] == [
        (str(tmp_path / 'aim'), None, None),
        (str(tmp_path / 'aim'), 'abc', True),
    ]
    made.add_config(CONFIG)
    made.add_scalars(dict(loss=1.0), 3, at=0.0)
    made.end(True)
    assert made._aim_run['hparams'] == PLAIN and calls == [dict(name='loss', value=1.0, step=3), 'closed']
    assert made.steps() == dict(loss={1, 2}) and not AimRun.counted


def test_plain() -> None:
    assert plain(CONFIG) == PLAIN
    assert plain(dict(a=(1, None), b={2}, c=Path('x'), d=True)) == dict(a=[1, None], b=[2], c='x', d=True)


def test_loading(monkeypatch) -> None:
    class Kind(TrackerRun):
        package, module = 'nowhere_to_be_found', 'tracker_kinds_module'
        settings: ClassVar = dict(TRACKER_KINDS_A='1', TRACKER_KINDS_B='2')

    with pytest.raises(NotInstalledError, match=r'^not installed \(pip install nowhere_to_be_found\)$'):
        Kind.load()
    module(monkeypatch, 'nowhere_to_be_found')
    with patch.dict(os.environ, TRACKER_KINDS_B='3'):
        with pytest.raises(ModuleNotFoundError, match='tracker_kinds_module'):
            Kind.load()
        module(monkeypatch, 'tracker_kinds_module')
        monkeypatch.setattr(tracker_kinds, 'import_module', lambda name: random.random())
        before = random.getstate()
        Kind.load()
        assert random.getstate() == before
        assert (os.environ['TRACKER_KINDS_A'], os.environ['TRACKER_KINDS_B']) == ('1', '3')


def test_a_package_draws_from_a_generator_of_its_own(monkeypatch) -> None:
    modules = [module(monkeypatch, name, random=random) for name in ('drawer', 'drawer.inner', 'other')]
    module(monkeypatch, 'drawer.none')
    with_own_random('drawer')
    before = random.getstate()
    for one in modules[:2]:
        assert 0 <= one.random.random() < 1 and one.random.Random(3).random() == random.Random(3).random()
        one.random.seed(7)
    assert random.getstate() == before and modules[2].random is random


def test_a_kind_says_what_it_needs() -> None:
    assert TrackerRun().named('a b') == 'a b' and TrackerRun().steps() == {}
    with pytest.raises(NotImplementedError):
        TrackerRun().begin('work', None)
