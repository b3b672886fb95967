"""The option --tracker: what it makes of a config, and what it refuses."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest
from conftest import SHAPES, one_line
from mmengine.config import Config
from mmengine.visualization import TensorboardVisBackend, Visualizer

from convnext_dense.errors import InputError
from convnext_dense.run import tracking
from convnext_dense.run.agreement import check_backend
from convnext_dense.run.options import load_config
from convnext_dense.run.tracking import NAMES, add_tracker_option, settle_trackers
from convnext_dense.training.trackers import KINDS, TrackerBackend

LOCAL = dict(type='LocalVisBackend')
TENSORBOARD = dict(type='TrackerBackend', backend=dict(type='TensorboardVisBackend'), name='tensorboard')


@pytest.fixture(autouse=True)
def no_variables(monkeypatch) -> None:
    for name in ('MLFLOW_TRACKING_URI', 'WANDB_PROJECT', 'CLEARML_PROJECT', 'COMET_PROJECT_NAME'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tracking, 'find_spec', lambda package: object())  # as if all were installed


def settled(names: list[str], *backends: Any, **entries: Any) -> tuple[list[Any], list[str]]:
    given = dict(visualizer=dict(type='Visualizer', vis_backends=list(backends))) if backends else {}
    cfg = Config(dict(work_dir='run') | given | entries)
    lines = settle_trackers(cfg, Namespace(tracker=names))
    return (cfg.get('visualizer') or {}).get('vis_backends'), lines


def test_the_option() -> None:
    parser = ArgumentParser()
    add_tracker_option(parser)
    assert parser.parse_args([]).tracker == []
    assert parser.parse_args(['--tracker', 'wandb', 'mlflow']).tracker == ['wandb', 'mlflow']
    assert list(NAMES) == ['tensorboard', 'wandb', 'mlflow', 'clearml', 'comet', 'aim']
    assert all(name in parser.format_help() for name in NAMES)


def test_without_it_nothing_changes() -> None:
    plain = dict(type='TensorboardVisBackend')
    assert settled([], LOCAL, plain) == ([LOCAL, plain], [])
    assert settled([]) == (None, [])


def test_all_are_added_behind_the_log_and_build(tmp_path: Path) -> None:
    cfg = load_config(SHAPES)
    cfg.work_dir = str(tmp_path)
    lines = settle_trackers(cfg, Namespace(tracker=[*NAMES, 'aim']))
    first, *backends = cfg.visualizer.vis_backends
    assert first == LOCAL and [one.name for one in backends] == list(NAMES) and len(lines) == len(NAMES)
    for backend in backends:
        check_backend(backend)  # as the rehearsal does
    backends = Config.fromstring(cfg.pretty_text, '.py').visualizer.vis_backends  # as a checkpoint has it
    made = Visualizer(name='test_tracking', vis_backends=backends, save_dir=str(tmp_path))
    kinds = [(one.name, one.cls) for one in made._vis_backends.values() if isinstance(one, TrackerBackend)]
    assert kinds == list(zip(NAMES, KINDS.values(), strict=True)) and list(made._vis_backends) == ['LocalVisBackend', *NAMES]
    made.close()
    assert not list(tmp_path.iterdir()), 'nothing begins by being built'


def test_a_config_without_a_visualizer_keeps_its_log() -> None:
    assert settled(['tensorboard'])[0] == [LOCAL, TENSORBOARD]
    assert settled(['tensorboard'], visualizer=dict(type='Visualizer'))[0] == [TENSORBOARD]
    assert settled(['tensorboard'], visualizer=dict(type='Visualizer', vis_backends=LOCAL))[0] == [LOCAL, TENSORBOARD]


@pytest.mark.parametrize('kind', ['WandbVisBackend', KINDS['WandbVisBackend'].__mro__[2]])
def test_what_the_config_has_is_taken_with_its_arguments(kind: Any) -> None:
    own = dict(type=kind, init_kwargs=dict(project='p'))
    (first, made), _ = settled(['wandb'], own, LOCAL)
    assert first == LOCAL and made == dict(type='TrackerBackend', backend=own, name='wandb')
    (_, made), _ = settled(['wandb'], LOCAL, dict(own, name='mine'))
    assert made == dict(type='TrackerBackend', backend=own, name='mine')
    (_, again), _ = settled(['wandb'], LOCAL, made)
    assert again == made
    (_, other, made), _ = settled(['tensorboard'], LOCAL, own)
    assert other == own and made == TENSORBOARD, 'one that is not asked for stays as it is'


def test_the_class_is_mmengines() -> None:
    """On which the parameter above relies."""
    assert KINDS['TensorboardVisBackend'].__mro__[2] is TensorboardVisBackend


@pytest.mark.parametrize(
    ('name', 'told'),
    [
        ('tensorbord', "did you mean 'tensorboard'"),
        ('W&B', 'expected one of: aim, clearml'),
        ('MLflow', "did you mean 'mlflow'"),
    ],
)
def test_an_unknown_name(name: str, told: str, tool) -> None:
    with pytest.raises(InputError, match=rf"--tracker: expected names of trackers, got '{re.escape(name)}'; {told}"):
        settled([name], LOCAL)
    status, err = tool('train', SHAPES, '--tracker', 'tensorboard', name)
    one_line(status, err, f'--tracker: expected names of trackers, .*{told}')


def test_backends_that_are_no_dicts() -> None:
    with pytest.raises(InputError, match=r'visualizer\.vis_backends: expected a list of dicts, got'):
        settled(['wandb'], visualizer=dict(type='Visualizer', vis_backends=['LocalVisBackend']))


def test_lines_say_where(monkeypatch) -> None:
    lines = settled(list(NAMES))[1]
    assert lines == [
        'tracker tensorboard: run/trackers/tensorboard; tensorboard --logdir run/trackers/tensorboard',
        'tracker wandb: the project convnext-dense',
        f'tracker mlflow: run/trackers/mlflow; mlflow ui --backend-store-uri sqlite:///{os.getcwd()}/run/trackers/mlflow/mlflow.db',
        'tracker clearml: the project convnext-dense',
        'tracker comet: the project convnext-dense',
        'tracker aim: run/trackers/aim; aim up --repo run/trackers/aim',
    ]
    monkeypatch.setenv('MLFLOW_TRACKING_URI', 'https://me:secret@host:5000/x')
    monkeypatch.setenv('WANDB_PROJECT', 'roads')
    assert settled(['mlflow', 'wandb'])[1] == [
        'tracker mlflow: the server of MLFLOW_TRACKING_URI, https://host:5000/x',
        'tracker wandb: the project roads of WANDB_PROJECT',
    ]


def test_of_what_is_not_installed_the_backend_speaks(monkeypatch) -> None:
    monkeypatch.setattr(tracking, 'find_spec', lambda package: None if package == 'comet_ml' else object())
    assert [line.split(':')[0] for line in settled(['comet', 'tensorboard'])[1]] == ['tracker tensorboard']


def test_a_work_directory_that_mlflows_database_cannot_lie_in() -> None:
    with pytest.raises(InputError, match=r"tracker mlflow: expected a folder without .*run\?/trackers/mlflow with '\?'"):
        settled(['mlflow'], LOCAL, work_dir='run?')
    own = dict(type='MLflowVisBackend', tracking_uri='http://me:secret@host:5000')
    assert settled(['mlflow'], own, work_dir='run?')[1] == ['tracker mlflow: the server of the config, http://host:5000']
    lines = settled(['tensorboard', 'aim'], work_dir='a run?')[1]
    assert lines[0].endswith("tensorboard --logdir 'a run?/trackers/tensorboard'") and "'a run?/trackers/aim'" in lines[1]
