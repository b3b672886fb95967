"""The option --fsdp: a model that is divided among the processes, and what does not go together with it."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import Any

from mmengine.config import Config
from mmengine.hooks import EMAHook

from convnext_dense.errors import InputError
from convnext_dense.run.nodes import component, dicts
from convnext_dense.run.saving import SAFE
from convnext_dense.run.settle import world_size

OURS = ('MMDistributedDataParallel', 'ShardedModel')


def add_sharding_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--fsdp', action='store_true', help='divide weights, gradients and optimiser state among the processes (FSDP2)'
    )


def settle_sharding(cfg: Config, args: Namespace) -> list[str]:
    """With --fsdp, the model is divided. Lines for the log. Precision, hooks and loops are settled by then.

    Raises:
        InputError: for one process; for what FSDP2 cannot do.
    """
    if not args.fsdp:
        return []
    if args.launcher == 'none' or world_size() < 2:
        raise InputError(
            '--fsdp: expected --launcher and 2 or more processes, among which the model is divided, got 1; start with '
            'torchrun --nproc_per_node N, or leave out --fsdp'
        )
    for wrong, expected, instead in _conflicts(cfg):
        raise InputError(f'--fsdp: expected {expected}, got {wrong}; {instead}')
    cfg.model_wrapper_cfg = dict(type='ShardedModel')
    wrapper = cfg.optim_wrapper
    if wrapper.get('type') == 'AmpOptimWrapper':  # whose scaler is of no use in bfloat16, and knows whole gradients alone
        for key in ('dtype', 'loss_scale', 'use_fsdp'):
            wrapper.pop(key, None)
        wrapper.type = 'Bf16OptimWrapper'
    return [f'fsdp: weights, gradients and optimiser state are divided among {world_size()} processes']


def _conflicts(cfg: Config) -> list[tuple[str, str, str]]:
    """(what there is, what was expected, what to do) of each thing that does not go with it."""
    found = []
    hooks = list(dicts([cfg.get('custom_hooks') or [], cfg.get('default_hooks') or {}]))
    for hook in hooks:
        cls = component(hook.get('type'))
        if isinstance(cls, type) and issubclass(cls, EMAHook):
            found.append((f'{cls.__name__}', 'no average of the weights', 'leave it out of custom_hooks, or give --no-ema'))
    if SAFE not in [hook.get('type') for hook in hooks]:
        found.append(
            (
                'none',
                f'{SAFE} in default_hooks.checkpoint',
                'take it, or a CheckpointHook with a local folder, which becomes it',
            )
        )
    wrapper: dict[str, Any] = cfg.optim_wrapper
    if 'optimizer' not in wrapper:
        found.append(('none', 'one optimizer under optim_wrapper', 'leave out --fsdp'))
    if wrapper.get('type') == 'AmpOptimWrapper' and wrapper.get('dtype') != 'bfloat16':
        got = f'optim_wrapper.dtype {wrapper.get("dtype", "float16")}'
        found.append((got, 'float32, or bfloat16 (optim_wrapper.dtype=bfloat16)', 'float16 needs a scale of whole gradients'))
    for key in ('find_unused_parameters', 'compile'):
        if cfg.get(key):
            found.append((f'{key}={cfg[key]!r}', f'no {key}', 'leave out one of the two'))
    given = (cfg.get('model_wrapper_cfg') or {}).get('type', OURS[0])
    if given not in OURS:
        found.append((f'{given}', 'no model_wrapper_cfg of another type', 'leave out one of the two'))
    return found
