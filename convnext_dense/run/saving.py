"""How a run of the tools saves: the options, and the hook that writes checkpoints."""

from __future__ import annotations

import argparse
import os
import re
from argparse import Namespace
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

import convnext_dense.training.checkpoint_hook  # noqa: F401
from convnext_dense.errors import InputError
from convnext_dense.run.nodes import dicts
from convnext_dense.training.loops import name_of

SAFE = 'SafeCheckpointHook'
PLAIN = ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook)
RANKS = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


def add_saving_options(parser: argparse.ArgumentParser) -> None:
    """Options of training about its checkpoints."""
    parser.add_argument('--save-every-minutes', type=_minutes, metavar='N', help='save, too, when so much time has passed')
    parser.add_argument(
        '--async-save', choices=['auto', 'on', 'off'], default='auto', help='write beside training; auto: where memory allows'
    )
    parser.add_argument(
        '--time-limit', type=duration, metavar='H:MM', help='stop in time before it, with a checkpoint; exit status 75'
    )


def duration(text: str) -> float:
    """Seconds of H:MM or H:MM:SS, with days before it as D-H:MM:SS, as Slurm writes them."""
    match = re.fullmatch(r'(?:(\d+)-)?(\d+):([0-5]\d)(?::([0-5]\d))?', text)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    total = ((24 * days + hours) * 60 + minutes) * 60 + seconds
    if not total:
        raise argparse.ArgumentTypeError(f'expected hours and minutes, as 23:30, above 0, got {text!r}')
    return float(total)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'expected minutes, a number above 0, got {text!r}')
    return value


def settle_checkpoints(cfg: Config, args: Namespace) -> list[str]:
    """mmengine's CheckpointHook becomes SafeCheckpointHook, but where it writes into a store that is no folder.

    Lines for the log.

    Raises:
        InputError: for --save-every-minutes where the config writes no checkpoints, or into such a store.
    """
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = {}
    hooks = cfg.default_hooks
    if isinstance(hooks, dict) and 'checkpoint' not in hooks:  # as mmengine's runner adds it
        hooks['checkpoint'] = dict(type='CheckpointHook', interval=1)
    nodes = _hooks(cfg)
    for node in nodes:
        if node.get('type') in PLAIN and not _is_remote(node):
            node['type'] = SAFE
    minutes, beside = getattr(args, 'save_every_minutes', None), getattr(args, 'async_save', 'auto')
    options = [('--save-every-minutes', minutes is not None), ('--async-save', beside != 'auto')]
    safe: Any = next((node for node in nodes if node.get('type') == SAFE), None)
    for option, given in options:
        if given and safe is None:
            raise InputError(
                f'{option}: expected a CheckpointHook with a local folder in default_hooks.checkpoint, got none; add it'
            )
    if beside != 'auto':
        safe['asynchronous'] = beside == 'on'
    if minutes is None:
        return []
    safe['save_every_minutes'] = minutes
    return [f'checkpoints: also after every {minutes:g} minutes without one']


def _hooks(cfg: Config) -> list[Any]:
    return [node for key in ('default_hooks', 'custom_hooks') for node in dicts(cfg.get(key) or [])]


def checkpoint_root(cfg: Config) -> str | None:
    """The local `out_dir` of the hook that writes checkpoints; None where it writes into the work directory or a store."""
    nodes = (node for node in _hooks(cfg) if node.get('type') in (SAFE, *PLAIN) and not _is_remote(node))
    return next((str(node['out_dir']) for node in nodes if node.get('out_dir')), None)


def settle_stopping(cfg: Config, args: Namespace) -> list[str]:
    """Signals stop the run with a checkpoint, and so does --time-limit. Lines for the log.

    Raises:
        InputError: for --time-limit where the config has a StopHook of its own.
    """
    limit = getattr(args, 'time_limit', None)
    given = [hook for hook in cfg.custom_hooks if name_of(hook) == 'StopHook']
    if given and limit is not None:
        raise InputError('--time-limit: expected no StopHook in custom_hooks with it, got one; leave out one of the two')
    if not given:
        cfg.custom_hooks = [*cfg.custom_hooks, dict(type='StopHook', time_limit=limit)]
    return [] if limit is None else [f'time limit: training stops in time before {limit / 60:.0f} minutes, with a checkpoint']


def _is_remote(node: dict[str, Any]) -> bool:
    return '://' in str(node.get('out_dir') or '') or bool(node.get('backend_args') or node.get('file_client_args'))


def is_main(launcher: str) -> bool:
    """Whether this will be the first of a job's processes, before they have met."""
    return os.environ.get(RANKS.get(launcher, ''), '0') == '0'
