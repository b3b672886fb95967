"""The option --tracker: experiment trackers beside a run's own log."""

from __future__ import annotations

import argparse
import os
import re
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Any

from mmengine.config import Config

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.text import suggest
from convnext_dense.training.tracker_mlflow import database
from convnext_dense.training.tracker_writer import FOLDER
from convnext_dense.training.trackers import KINDS

OURS = 'TrackerBackend'
NAMES = {kind.removesuffix('VisBackend').lower(): kind for kind in KINDS}
# Which variable says where each writes.
PLACES = dict(wandb='WANDB_PROJECT', clearml='CLEARML_PROJECT', comet='COMET_PROJECT_NAME')


def add_tracker_option(parser: argparse.ArgumentParser) -> None:
    """The option of training that names trackers."""
    parser.add_argument(
        '--tracker', nargs='+', default=[], metavar='NAME', help=f'log to experiment trackers, too: {", ".join(NAMES)}'
    )


def settle_trackers(cfg: Config, args: Namespace) -> list[str]:
    """The trackers that `args.tracker` names are added to the visualizer's backends, behind the run's own log.

    One that the config has is taken with its arguments. The config's `work_dir` is settled by then. Lines for the log.

    Raises:
        InputError: for a name that is none of them; for backends that are no dicts; for a work directory that MLflow's
            database cannot lie in.
    """
    names = list(dict.fromkeys(getattr(args, 'tracker', None) or []))
    for name in names:
        if name not in NAMES:
            raise InputError(f'--tracker: expected names of trackers, got {brief(name)}; {suggest(name, NAMES)}')
    if not names:
        return []
    visualizer = dict(cfg.get('visualizer') or dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]))
    backends = visualizer.get('vis_backends') or []
    backends = [backends] if isinstance(backends, dict) else backends
    if not isinstance(backends, (list, tuple)) or not all(isinstance(one, dict) for one in backends):
        raise InputError(f'visualizer.vis_backends: expected a list of dicts, got {brief(backends)}; write them so')
    backends = _with_trackers([dict(one) for one in backends], names)
    given = {_name_of(one): one['backend'] for one in backends if _type(one) == OURS}
    there = [name for name in names if find_spec(KINDS[NAMES[name]].package)]  # of others, the backend says it
    lines = [f'tracker {name}: {_told(name, Path(cfg.work_dir, FOLDER), given[name])}' for name in there]
    visualizer['vis_backends'] = backends
    cfg.visualizer = visualizer
    return lines


def _with_trackers(backends: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """A plain backend of one of the trackers gives its arguments to the guarded one."""
    found = {_name_of(one): one for one in backends if _name_of(one) in names}
    rest = [one for one in backends if _name_of(one) not in names]
    return rest + [_guarded(name, found.get(name, dict(type=NAMES[name]))) for name in names]


def _name_of(backend: dict[str, Any]) -> str | None:
    kind = (backend.get('backend') or {}).get('type') if _type(backend) == OURS else _type(backend)
    return next((name for name, known in NAMES.items() if known == getattr(kind, '__name__', kind)), None)


def _type(backend: dict[str, Any]) -> Any:
    return getattr(backend.get('type'), '__name__', backend.get('type'))


def _guarded(name: str, backend: dict[str, Any]) -> dict[str, Any]:
    if _type(backend) == OURS:
        return backend
    inner = {key: value for key, value in backend.items() if key != 'name'}
    return dict(type=OURS, backend=inner, name=backend.get('name', name))


def _told(name: str, folder: Path, backend: dict[str, Any]) -> str:
    """Where it writes, and what shows it."""
    place = f'{folder / name}'
    if name == 'tensorboard':
        return f'{place}; tensorboard --logdir {quote(place)}'
    if name == 'mlflow' and backend.get('tracking_uri'):
        return f'the server of the config, {_without_password(backend["tracking_uri"])}'
    uri = os.environ.get('MLFLOW_TRACKING_URI')
    if name == 'mlflow' and uri:
        return f'the server of MLFLOW_TRACKING_URI, {_without_password(uri)}'
    if name == 'mlflow':
        return f'{place}; mlflow ui --backend-store-uri {quote(database(folder / name))}'
    if name == 'aim':
        return f'{place}; aim up --repo {quote(place)}'
    project = os.environ.get(PLACES[name])
    return f'the project {project or "convnext-dense"} of {PLACES[name]}' if project else 'the project convnext-dense'


def _without_password(uri: str) -> str:
    return re.sub('//[^/@]+@', '//', uri)
