"""Parts of a config that must agree: hooks and metrics, loops and samplers, the runner's options and the model's modules."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from importlib.util import find_spec
from typing import Any

import torch
from mmdet.datasets.samplers import GroupMultiSourceSampler, MultiSourceSampler
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.registry import VISBACKENDS
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from torch import nn

from convnext_dense import ops
from convnext_dense.errors import InputError
from convnext_dense.text import suggest

ENDLESS = (InfiniteSampler, MultiSourceSampler, GroupMultiSourceSampler)
OTHER_LOOPS = {'train': (TestLoop, ValLoop), 'val': (TestLoop,), 'test': (ValLoop,)}
# What a visualizer's backend imports when it starts.
PACKAGES = {
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
    'MLflowVisBackend': 'mlflow',
    'ClearMLVisBackend': 'clearml',
    'NeptuneVisBackend': 'neptune',
    'DVCLiveVisBackend': 'dvclive',
    'AimVisBackend': 'aim',
}


def check_monitors(hooks: Iterable[Hook], schedulers: Any, names: Collection[str]) -> None:
    """Stop at a hook or scheduler that waits for a metric which is never measured; `names` are those that are."""
    watchers = [(f'{type(hook).__name__}.monitor', getattr(hook, 'monitor', None)) for hook in hooks]
    watchers += [(f'{type(one).__name__}.monitor', getattr(one, 'monitor', None)) for one in schedulers or ()]
    for hook in hooks:
        best = getattr(hook, 'save_best', None)
        watchers += [('CheckpointHook.save_best', one) for one in (best if isinstance(best, list) else [best])]
    for key, name in watchers:
        if isinstance(name, str) and name not in (*names, 'auto', 'loss'):
            raise InputError(f'{key}: expected one of {", ".join(names)}; got {name!r}; {suggest(name, names)}')


def check_custom_keys(cfg: Config, model: nn.Module) -> None:
    """Stop at mmengine's `custom_keys` of which none is part of a parameter's name."""
    wrapper = cfg.optim_wrapper
    keys = (wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}
    names = [name for name, _ in model.named_parameters()]
    if keys and not any(key in name for key in keys for name in names):
        raise InputError(
            f'paramwise_cfg.custom_keys: expected parts of parameter names, got {", ".join(map(str, keys))}: none matches'
        )


def check_operators(model: nn.Module) -> None:
    """Stop at a model that will call an operator of mmcv's which nobody answers, maybe only once it finds objects."""
    missing = ops.missing(model)
    if missing:
        name, where = next(iter(missing.items()))
        more = f' and {len(missing) - 1} more' if len(missing) > 1 else ''
        raise InputError(
            f'model: expected operators that are answered without a compiled mmcv, got {name}{more} ({where}); install an mmcv '
            'with compiled operators, or choose another part'
        )


def check_loop_kind(split: str, loop: Any) -> None:
    """Stop at the loop of another split, and at images that never end where a loop waits for the end."""
    if isinstance(loop, OTHER_LOOPS[split]):
        raise InputError(f'{split}_cfg: expected a loop for {split}, got {type(loop).__name__}; leave its type out')
    loader = loop.dataloader
    sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
    if isinstance(sampler, ENDLESS) and not isinstance(loop, IterBasedTrainLoop):
        raise InputError(
            f'{split}_dataloader.sampler: expected one that ends, as DefaultSampler, for {type(loop).__name__}; got '
            f'{type(sampler).__name__}'
        )


def check_backend(backend: Any) -> None:
    """Stop at a visualizer's backend that is not known or installed, or whose arguments are not its own."""
    cls = backend.get('type') if isinstance(backend, dict) else backend
    made = cls if inspect.isclass(cls) else VISBACKENDS.get(cls) if isinstance(cls, str) else None
    if made is None:
        raise InputError(f'visualizer.vis_backends: expected types such as LocalVisBackend, got {cls!r}')
    package = PACKAGES.get(made.__name__)
    if package is not None and find_spec(package) is None:
        raise InputError(f'visualizer.vis_backends: expected the package {package} for {made.__name__}; pip install {package}')
    arguments = {key: value for key, value in backend.items() if key != 'type'} if isinstance(backend, dict) else {}
    try:
        inspect.signature(made).bind(**{'save_dir': 'work_dir', **arguments})
    except TypeError as error:
        raise InputError(
            f'visualizer.vis_backends: expected the arguments of {made.__name__}, got {arguments}: {error}'
        ) from error


def check_extras(cfg: Config, model: nn.Module) -> None:
    """Stop at what the runner does to the model only when training starts: compiling, recomputing, folding norms."""
    modules = [name for name, _ in model.named_modules() if name]
    for key in ('activation_checkpointing', 'efficient_conv_bn_eval'):
        given = cfg.get(key)
        names = [given] if isinstance(given, str) else given or []
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise InputError(f'{key}: expected names of modules, as ["backbone"], got {given!r}')
        for name in names:
            if name not in modules:
                raise InputError(f'{key}: expected names of modules, got {name!r}; {suggest(name, modules)}')
    options = cfg.get('compile') or {}
    backend = options.get('backend') if isinstance(options, dict) else None
    if not isinstance(options, (dict, bool)):
        raise InputError(f'compile: expected True, False or a dict of arguments of torch.compile, got {options!r}')
    if isinstance(backend, str) and backend not in (known := torch._dynamo.list_backends(None)):
        raise InputError(f'compile.backend: expected one of {", ".join(known)}; got {backend!r}')
