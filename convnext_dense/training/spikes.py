"""A loss far above what it was lately, told with the pictures of its batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.typing import NDArray

from convnext_dense.expect import expect_number, expect_whole
from convnext_dense.training.batches import named_pictures
from convnext_dense.training.guard_hook import GuardHook, warn

NORMAL = 1.4826  # median absolute deviation to standard deviation, of a normal distribution


def upper_bound(losses: NDArray[np.floating], deviations: float) -> tuple[float, float]:
    """(median, bound) of losses (N,): so many robust standard deviations above the median, and at least twice the median."""
    median = float(np.median(losses))
    spread = NORMAL * float(np.median(np.abs(losses - median)))
    return median, median + max(deviations * spread, abs(median))


@HOOKS.register_module()
class LossSpikeHook(GuardHook):
    """Warns of a loss above its band, which follows from the median of the last ones and their median absolute deviation.

    The losses are those of mmengine's message hub, which checkpoints keep. In several processes each looks at its own.

    Args:
        window: iterations that the band follows from.
        least: iterations before the first warning.
        deviations: robust standard deviations between the median and the end of the band.
        interval: iterations between two warnings; spikes between them are counted.
    """

    priority = 'LOW'  # after the loss is in the message hub

    def __init__(self, window: int = 200, least: int = 50, deviations: float = 10.0, interval: int = 50) -> None:
        for name, value in dict(window=window, least=least, interval=interval).items():
            expect_whole(f'LossSpikeHook.{name}', value, 1)
        expect_number('LossSpikeHook.deviations', deviations, 0)
        self.window, self.least, self.deviations, self.interval = window, least, deviations, interval
        self.state: dict[str, Any] = dict(told=-interval, untold=0, total=0)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Compare the loss with its band."""
        history = runner.message_hub.log_scalars.get('train/loss')
        if history is None:
            return
        losses = history.data[0][-self.window - 1 :]
        loss, before = float(losses[-1]), losses[:-1][np.isfinite(losses[:-1])]
        if len(before) < self.least or not np.isfinite(loss):
            return
        median, bound = upper_bound(before, self.deviations)
        if loss <= bound:
            return
        state = self.state
        state['total'] += 1
        if runner.iter - state['told'] < self.interval:
            state['untold'] += 1
            return
        more = f'; {state["untold"]} more since iteration {state["told"] + 1}' if state['untold'] else ''
        state['told'], state['untold'] = runner.iter, 0
        warn(
            runner,
            f'loss: iteration {runner.iter + 1}: {loss:.4g} is above its band, up to {bound:.4g} (median {median:.4g} of '
            f'{len(before)} iterations); pictures: {named_pictures(data_batch)}{more}',
        )

    def after_train(self, runner: Runner) -> None:
        """Say how many there were, where some were not told."""
        if self.state['untold']:
            warn(runner, f'loss: it was above its band in {self.state["total"]} iterations in all')
