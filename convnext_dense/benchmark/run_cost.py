"""What a run that is never lost costs: resuming far into it, and each step, beside MMEngine's own loop and hooks."""

from __future__ import annotations

import copy
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.table import Table

from convnext_dense.data.shapes import write_shapes
from convnext_dense.run.guarding import guard_hooks
from convnext_dense.run.options import load_config
from convnext_dense.run.resuming import settle_loop
from convnext_dense.run.saving import settle_checkpoints, settle_stopping
from convnext_dense.run.settle import settle_norms

RECIPE = 'upernet_convnext_atto_shapes'
FAR = 100_000  # iterations that were done
WARM = 5  # iterations that are not counted
STEPS, EVERY = 45, 10  # of a round; iterations between checkpoints
OWN, MMENGINE = 'ours', 'mmengine'


class Read(Hook):
    """Counts samples that are read, and times the steps."""

    def __init__(self, start: int = 0) -> None:
        self.start, self.begun = start, 0.0
        self.steps: list[float] = []

    def before_run(self, runner: Runner) -> None:
        runner.train_loop._iter = self.start  # before the loop looks where it is
        self.begun = time.perf_counter()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.steps.append(time.perf_counter() - self.begun)


def counted(dataset: Any, read: list[int]) -> Any:
    """The data set, whose samples leave a mark in `read` when they are read in this process."""

    class Counted(type(dataset)):  # type: ignore[misc]
        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return super().__getitem__(index)

    dataset.__class__ = Counted
    return dataset


def config(folder: Path, name: str, iterations: int, data: Path, own: bool) -> Config:
    """The toy recipe for so many iterations in this process, with MMEngine's loop and hooks or ours."""
    cfg = load_config(RECIPE, data_root=str(data))
    cfg.work_dir, cfg.experiment_name = str(folder / name), name
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg.pop(key, None)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=EVERY, max_keep_ckpts=2)
    cfg.log_level, cfg.randomness = 'ERROR', dict(seed=0)
    settle_norms(cfg, 1)
    if own:
        settle_loop(cfg)
        settle_checkpoints(cfg, Namespace())
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *guard_hooks(cfg)]
        settle_stopping(cfg, Namespace())
    return cfg


def trained(cfg: Config, hook: Hook, read: list[int] | None = None) -> None:
    """Train by `cfg` with one more hook."""
    runner = Runner.from_cfg(copy.deepcopy(cfg))
    if read is not None:
        dataset = runner.build_dataloader(runner._train_dataloader).dataset
        runner._train_dataloader['dataset'] = dict(type=lambda: counted(dataset, read))
    runner.register_hook(hook, 'VERY_LOW')
    runner.train()


def resume_cost(say: Callable[[str], None], done: int = FAR) -> Table:
    """Seconds from the loop's begin to the end of the first step at iteration `done`, and samples read for it."""
    table = Table(f'resumed at iteration {done:,}', 'seconds to the first step', 'samples read')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shapes(folder / 'shapes', train=40, val=1)
        for path in (OWN, MMENGINE):
            say(f'{path} ...')
            hook, read = Read(done), list[int]()
            trained(config(folder, path, done + 1, folder / 'shapes', path == OWN), hook, read)
            table.add_row(path, f'{hook.steps[0]:.2f}', f'{len(read):,}')
    return table


def step_cost(say: Callable[[str], None], rounds: int) -> Table:
    """Milliseconds of a step on the toy set, with a checkpoint every `EVERY` steps: rounds of one and the other in turn."""
    found: dict[str, list[np.ndarray]] = {OWN: [], MMENGINE: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shapes(folder / 'shapes', train=40, val=1)
        for i in range(rounds):
            for path, steps in found.items():
                hook = Read()
                trained(config(folder, f'{path}_{i}', STEPS, folder / 'shapes', path == OWN), hook)
                steps.append(1e3 * np.diff(hook.steps)[WARM - 1 :])
            say(f'round {i + 1} of {rounds}')
    table = Table('toy step, 2 images', 'median ms', 'mean ms with saving', 'range of means', 'ours / mmengine')
    base = median(float(np.median(steps)) for steps in found[MMENGINE])
    for path, steps in found.items():
        means = [float(step.mean()) for step in steps]
        middle = median(float(np.median(step)) for step in steps)
        table.add_row(
            path, f'{middle:.1f}', f'{median(means):.1f}', f'{min(means):.1f} to {max(means):.1f}', f'{middle / base:.3f}'
        )
    return table
