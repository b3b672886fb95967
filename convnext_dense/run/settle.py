"""Fit a config to the machine and to the command line, and say what was changed.

Each function changes the config in place and returns a line for the log, or None where nothing changed.
"""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
from typing import Any

import torch
from mmengine.config import Config
from torch.multiprocessing import get_sharing_strategy

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.kernels.onednn import onednn_computes
from convnext_dense.models.init_cfg import split_init_cfg
from convnext_dense.run.nodes import dicts
from convnext_dense.run.values import number, whole

SYNC_NORMS = ('SyncBN', 'MMSyncBN', 'naiveSyncBN')
SOCKET_PATH = 107 if sys.platform == 'linux' else 103  # bytes
WARM_UPS = ('LinearLR', 'ConstantLR')
_OWN = ('ConvNeXt', 'RoadmapNet', 'IsotropicConvNeXt')
BACKBONE = (*_OWN, *(f'mmengine.{name}' for name in _OWN))


def world_size() -> int:
    """Processes of this job, as its launcher tells."""
    for name in ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE'):
        text = os.environ.get(name)
        if text:
            if not text.isdecimal() or int(text) < 1:
                raise InputError(f'{name} in the environment: expected the number of processes, got {text!r}; unset it')
            return int(text)
    return 1


def settle_norms(cfg: Config, processes: int) -> str | None:
    """SyncBN becomes BN where one process trains, and on the CPU, where PyTorch has no SyncBN."""
    if processes > 1 and torch.cuda.is_available():
        return None
    changed = 0
    for node in dicts(cfg):
        if node.get('type') in SYNC_NORMS:
            node['type'] = 'BN'
            changed += 1
    why = 'one process' if processes == 1 else 'no GPU, each process normalises by its own batch'
    return f'norm: SyncBN -> BN ({why})' if changed else None


def settle_precision(cfg: Config, amp: bool) -> str | None:
    """bf16 where the device has it, fp16 with loss scaling elsewhere on CUDA, bf16 on the CPU only when `amp` asks for it."""
    wrapper = cfg.optim_wrapper
    recipe = wrapper.get('type', 'OptimWrapper') == 'AmpOptimWrapper'
    loss_scale = wrapper.get('loss_scale', 'dynamic')
    if not (loss_scale == 'dynamic' or isinstance(loss_scale, dict) or (number(loss_scale) and loss_scale > 0)):
        raise InputError(
            f"optim_wrapper.loss_scale: expected 'dynamic', a number above 0, or a dict of GradScaler's arguments; "
            f'got {loss_scale!r}'
        )
    if not amp and not recipe:
        return None
    if amp and wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper', 'Bf16OptimWrapper'):
        raise InputError(f'--amp: expected optim_wrapper.type OptimWrapper, got {wrapper.type}; leave out one of the two')
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        if 'dtype' not in wrapper:
            wrapper.dtype = 'bfloat16' if torch.cuda.is_bf16_supported() else 'float16'
        return f'precision: {wrapper.dtype} autocast on CUDA'
    for key in ('dtype', 'loss_scale', 'use_fsdp'):
        wrapper.pop(key, None)
    wrapper.type = 'Bf16OptimWrapper' if amp else 'OptimWrapper'
    if amp:
        hardware = onednn_computes(torch.bfloat16)
        slow = '' if hardware else '; this processor has no bfloat16 products: several times slower than float32'
        return f'precision: bfloat16 autocast on the CPU{slow}'
    return 'precision: float32 (the recipe trains in fp16 on a GPU; --amp for bf16 here)'


def settle_workers(cfg: Config) -> str | None:
    """No more loading processes than this machine has processors for.

    Raises:
        InputError: where they could not hand on what they load.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    changed = []
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if loader and whole(loader.get('num_workers', 0), cores + 1):
            changed.append(f'{name} {loader.num_workers} -> {cores}')
            loader.num_workers = cores
        if loader and loader.get('num_workers'):
            _check_temporary(f'{name}.num_workers={loader.num_workers}')
    return f'workers: {", ".join(changed)} ({cores} processors)' if changed else None


def _check_temporary(what: str) -> None:
    """A socket's path has an end; beyond it a loading process says so and loads on, and the run waits for ever."""
    folder = tempfile.gettempdir()
    longest = SOCKET_PATH - len('/pymp-xxxxxxxx/listener-xxxxxxxx')
    if get_sharing_strategy() == 'file_descriptor' and len(os.fsencode(folder)) > longest:
        raise InputError(
            f'{what}: expected a temporary folder whose path has at most {longest} bytes, since loading processes hand tensors '
            f'on by sockets in it; got {folder}; set TMPDIR to a shorter one, or num_workers=0'
        )


def settle_pretrained(cfg: Config, pretrained: str | None, needed: bool) -> str | None:
    """`--pretrained FILE` replaces the backbone's weights, 'none' drops them, and so does a run that loads a whole model."""
    backbones = [node for node in dicts(cfg.get('model', {})) if node.get('type') in BACKBONE]
    if pretrained is not None and not backbones:
        raise InputError('--pretrained: expected a backbone of type ConvNeXt in the config, found none')
    for backbone in backbones:
        if pretrained not in (None, 'none') and needed:
            backbone.init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        elif (pretrained == 'none' or not needed) and _loads_weights(backbone):
            backbone.init_cfg = split_init_cfg(backbone.init_cfg)[0] or None
    scratch = needed and backbones and not any(_loads_weights(backbone) for backbone in backbones)
    return 'backbone: from scratch' if scratch else None


def _loads_weights(backbone: dict) -> bool:
    return split_init_cfg(backbone.get('init_cfg'))[1] is not None


def effective_batch(cfg: Config, processes: int) -> tuple[int, str]:
    """Images per optimiser step, and how they come about."""
    per_process = _count('train_dataloader.batch_size', cfg.train_dataloader.get('batch_size', 1))
    steps = _count('optim_wrapper.accumulative_counts', cfg.optim_wrapper.get('accumulative_counts', 1))
    total = per_process * processes * steps
    return total, f'{per_process} per process x {processes} processes x {steps} accumulated = {total} images a step'


def _count(name: str, value: Any) -> int:
    if not whole(value, 1):
        raise InputError(f'{name}: expected a whole number from 1 up, got {value!r}')
    return value


def settle_rate(cfg: Config, processes: int, scale: bool) -> str | None:
    """With `scale`, the rate goes by the effective batch relative to the recipe's, gradient accumulation counted."""
    total, how = effective_batch(cfg, processes)
    auto = cfg.get('auto_scale_lr') or {}
    base = auto.get('base_batch_size')
    scale = scale or auto.get('enable', False)
    optimizer = cfg.optim_wrapper.get('optimizer')
    named = isinstance(optimizer, dict) and 'type' in optimizer
    if not named or not number(optimizer.get('lr', None if scale and total != base else 0.0)):
        raise InputError(f'optim_wrapper.optimizer: expected a dict with type and a number under lr, got {optimizer!r}')
    if base is None and scale:
        raise InputError('--auto-scale-lr: expected auto_scale_lr.base_batch_size in the config, which has none; add it')
    if base is not None:
        base = _count('auto_scale_lr.base_batch_size', base)
        cfg.auto_scale_lr.enable = False  # done here; mmengine's own ignores accumulation
    if 'lr' not in optimizer:
        return f'batch: {how}; {_own_rate(optimizer.type)}'
    if base is None:
        return f'batch: {how}; lr {optimizer.lr:g}'
    told = f"batch: {how}; the recipe's is {base} at lr {optimizer.lr:g}"
    if total == base:
        return told
    scaled = optimizer.lr * total / base
    if not scale:
        return f'{told}; lr stays {optimizer.lr:g} (--auto-scale-lr makes it {scaled:g})'
    optimizer.lr = scaled
    return f'{told}; scaled to lr {scaled:g}'


def short_schedule(cfg: Config, images: int, processes: int) -> str | None:
    """A line where the warm-up is longer than half of the training on so many images."""
    loop = cfg.get('train_cfg') or {}
    steps = loop.get('max_iters')
    if steps is None:
        per_step = cfg.train_dataloader.get('batch_size', 1) * processes
        steps = -(-images // per_step) * loop.get('max_epochs', 0)
    schedulers = cfg.get('param_scheduler') or []
    for i, one in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        warms = one.get('type') in WARM_UPS and not one.get('by_epoch', True)
        if warms and steps < 2 * one.get('end', 0) < float('inf'):
            return (
                f'schedule: {steps} steps in all, of which the warm-up takes {one.end}: the rate is low for most or all of the '
                f'training; --cfg-options param_scheduler.{i}.end={max(steps // 10, 1)} shortens it'
            )
    return None


def _own_rate(cls: Any) -> str:
    """The rate of an optimiser that the config gives none."""
    cls = getattr(torch.optim, cls, None) if isinstance(cls, str) else cls
    parameter = inspect.signature(cls).parameters.get('lr') if inspect.isclass(cls) else None
    default = getattr(parameter, 'default', None)
    return f"lr {default:g}, the optimiser's own" if number(default) else "lr is the optimiser's own"


def use_backend(cfg: Config, backend: str) -> None:
    """Compute COCO's numbers by `backend`, one of `convnext_dense.data.coco.BACKENDS`."""
    nodes = [node for node in dicts(cfg.get('test_evaluator') or {}) if node.get('type') == 'CocoStatsMetric']
    if not nodes:
        raise InputError('--eval-backend: expected a test_evaluator of type CocoStatsMetric in the config, found none')
    for node in nodes:
        node['backend'] = backend


def use_tta(cfg: Config) -> str:
    """Test the whole image at several scales, flipped too, as the published multi-scale numbers are."""
    if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
        raise InputError('--tta: expected tta_model and tta_pipeline in the config, which has none; add them')
    if not isinstance(cfg.tta_model, dict):
        raise InputError(f"--tta: expected tta_model to be a dict, such as dict(type='SegTTAModel'); got {cfg.tta_model!r}")
    last: Any = cfg.tta_pipeline[-1] if isinstance(cfg.tta_pipeline, (list, tuple)) else None
    cls = last.get('type') if isinstance(last, dict) else None
    steps = last.get('transforms') if str(getattr(cls, '__name__', cls)).endswith('TestTimeAug') else None
    if not isinstance(steps, (list, tuple)) or not all(isinstance(step, (list, tuple)) for step in steps):
        raise InputError(
            f'--tta: expected tta_pipeline to end in a TestTimeAug with lists under transforms, got {brief(last)}; see a recipe'
        )
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    if 'decode_head' in cfg.model:  # a segmentor: single-scale slides, multi-scale does not
        cfg.model.test_cfg = dict(mode='whole', keep_logits=True)  # whose mean over the views is taken
    cfg.model = dict(cfg.tta_model, module=cfg.model)
    views = [len(step) for step in steps if len(step) > 1]
    return f'test-time augmentation: {" x ".join(map(str, views))} views of the whole image'
