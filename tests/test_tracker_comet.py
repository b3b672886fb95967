"""What Comet is asked for, which need not be installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from tracker_sets import module

from convnext_dense.training.tracker_comet import CometVisBackend
from convnext_dense.training.tracker_kinds import PROJECT


class Experiment:
    def __init__(self, key: str) -> None:
        self.key, self.calls = key, []

    def get_key(self) -> str:
        return self.key

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **given: self.calls.append((name, args, given))


@pytest.fixture
def asked(monkeypatch) -> Iterator[list[dict[str, Any]]]:
    """What `start` was given."""
    found: list[dict[str, Any]] = []

    def start(**given: Any) -> Experiment:
        found.append(given)
        return Experiment(given.get('experiment_key') or 'new')

    module(monkeypatch, 'comet_ml', start=start, ExperimentConfig=lambda **given: SimpleNamespace(**given))
    with patch.dict(os.environ):
        os.environ.pop('COMET_PROJECT_NAME', None)
        yield found


def test_begins_and_goes_on(tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    folder = str(tmp_path / 'comet')
    CometVisBackend.load()
    assert CometVisBackend(folder).begin('work', None) == 'new'
    assert CometVisBackend(folder, init_kwargs=dict(workspace='mine')).begin('work', 'abc') == 'abc'
    configs = [one.pop('experiment_config') for one in asked]
    assert asked == [dict(mode='create'), dict(mode='get', experiment_key='abc', workspace='mine')]
    assert [one.name for one in configs] == ['work', None] and configs[0].offline_directory == folder
    assert not configs[0].log_code and not configs[0].auto_metric_logging
    assert os.environ['COMET_PROJECT_NAME'] == PROJECT
    os.environ['COMET_PROJECT_NAME'] = 'own'
    CometVisBackend.load()
    assert os.environ['COMET_PROJECT_NAME'] == 'own'


def test_is_written_to(tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    made = VISBACKENDS.build(dict(type='CometVisBackend', save_dir=str(tmp_path / 'work')))
    made._init_env()  # as MMEngine's are begun, where no TrackerBackend is around it
    image = np.zeros((2, 3, 3), np.uint8)
    made.add_config(Config(dict(a=1)))
    made.add_scalars(dict(loss=1.0), 3)
    made.add_scalar('lr', 0.1, 4)
    made.add_image('scene', image, 5)
    made.close()
    assert made.experiment.calls == [
        ('log_parameters', (dict(a=1),), {}),
        ('log_metrics', (dict(loss=1.0),), dict(step=3)),
        ('log_metric', ('lr', 0.1), dict(step=4)),
        ('log_image', (image,), dict(name='scene', step=5)),
        ('end', (), {}),
    ]
    assert made.counted
    CometVisBackend(str(tmp_path)).close()  # one that was never begun
