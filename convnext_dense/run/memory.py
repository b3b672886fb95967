"""Training that does not fit into memory: half the batch, twice the accumulation, and from the start again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.run.nodes import dicts
from convnext_dense.run.preflight import check_batch_norm
from convnext_dense.training.out_of_memory import is_out_of_memory


def train_within_memory(cfg: Config, model: nn.Module, processes: int, build: Callable[[list[str]], Runner]) -> Runner:
    """Train by the runner that `build` makes with more lines for its log; a first step that does not fit halves the batch.

    An update takes the same number of images; iterations, which are then twice as many, are counted anew in the config.
    Afterwards, in a resumed run, where one image is too much, and in one of several processes, the error is raised.
    """
    lines: list[str] = []
    while True:
        runner = build(lines)
        try:
            runner.train()
            return runner
        except (RuntimeError, MemoryError) as error:
            first = runner.iter == 0 and not cfg.get('resume')  # a resumed run has done iterations of the batch that it has
            if processes > 1 or not first or not is_out_of_memory(error) or not _halved(cfg, model):
                raise
            lines = [*lines, _line(cfg)]
        del runner
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def as_halved(cfg: Config, model: nn.Module, before: Mapping[str, Any]) -> list[str]:
    """Halve as the run did that is resumed, by the config that its checkpoint carries; a line where it did."""
    loader, wrapper = before.get('train_dataloader') or {}, before.get('optim_wrapper') or {}
    batch, steps = loader.get('batch_size', 0), wrapper.get('accumulative_counts', 1)
    own, counts = cfg.train_dataloader.get('batch_size', 1), cfg.optim_wrapper.get('accumulative_counts', 1)
    if not 0 < batch < own or batch * steps != own * counts:
        return []
    while cfg.train_dataloader.batch_size > batch and _halved(cfg, model):
        pass
    return [_line(cfg).replace('the first step did not fit', 'as the run began')]


def _line(cfg: Config) -> str:
    batch, steps = cfg.train_dataloader.batch_size, cfg.optim_wrapper.accumulative_counts
    return (
        f'memory: the first step did not fit: {batch} images at a time, {steps} times accumulated, which makes the same '
        f'{batch * steps} an update'
    )


def _halved(cfg: Config, model: nn.Module) -> bool:
    """Half the batch and twice the rest in the config; False where that cannot be."""
    batch = cfg.train_dataloader.get('batch_size', 1)
    if batch < 2 or batch % 2:
        return False
    cfg.train_dataloader.batch_size = batch // 2
    try:
        check_batch_norm(cfg, model)
    except InputError:
        cfg.train_dataloader.batch_size = batch
        return False
    cfg.optim_wrapper.accumulative_counts = 2 * cfg.optim_wrapper.get('accumulative_counts', 1)
    _double_iterations(cfg)
    return True


def _double_iterations(cfg: Config) -> None:
    loop: dict[str, Any] = cfg.train_cfg
    if 'max_iters' in loop:
        _double(loop, 'max_iters', 'val_interval', 'val_begin')
    for one in dicts(cfg.get('param_scheduler') or []):
        if not one.get('by_epoch', True):
            _double(one, 'begin', 'end', 'T_max', 'step_size', 'milestones')
    for hook in dicts(cfg.get('default_hooks') or {}):
        if hook.get('by_epoch') is False:
            _double(hook, 'interval')


def _double(node: dict[str, Any], *keys: str) -> None:
    for key in keys:
        value = node.get(key)
        if isinstance(value, list):
            node[key] = [2 * one for one in value]
        elif isinstance(value, int) and not isinstance(value, bool):
            node[key] = 2 * value
