"""Training that waits for its data, told once with what to set."""

from __future__ import annotations

import os
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from convnext_dense.expect import expect_whole
from convnext_dense.training.guard_hook import expect_share

START = 20  # iterations in which loading processes start and kernels are chosen


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


@HOOKS.register_module()
class LoadingTimeHook(Hook):
    """One warning where loading takes more than a share of the iterations' time, by mmengine's IterTimerHook.

    Args:
        share: of the time.
        least: iterations that the share is of.
    """

    priority = 'LOW'  # after the timer

    def __init__(self, share: float = 0.5, least: int = 50) -> None:
        expect_share('LoadingTimeHook.share', share)
        expect_whole('LoadingTimeHook.least', least, 1)
        self.share, self.least = share, least
        self.iterations, self.told = 0, False

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Compare the times of the last iterations."""
        self.iterations += 1
        scalars = runner.message_hub.log_scalars
        if self.told or self.iterations < START + self.least or 'train/data_time' not in scalars:
            return
        loading, whole = (float(scalars[f'train/{name}'].mean(self.least)) for name in ('data_time', 'time'))
        if loading > self.share * whole:
            self.told = True
            runner.logger.warning(
                f'loading: {loading:.3g} s of an iteration of {whole:.3g} s are spent waiting for data (mean of the last '
                f'{self.least}); {advice(runner.train_dataloader)}'
            )


def advice(loader: DataLoader) -> str:
    """What to set, by what is set."""
    workers, cores = loader.num_workers, processors()
    smaller = 'pictures that are stored smaller, or fewer steps in train_pipeline, take less time'
    if workers >= cores:
        return f'num_workers={workers} already keep the {cores} processors busy: {smaller}'
    more = f'train_dataloader.num_workers is {workers}, and there are {cores} processors: raise it'
    stay = '' if loader.persistent_workers else '; persistent_workers=True spares starting them anew for every epoch'
    return f'{more}{stay}; else {smaller}'
