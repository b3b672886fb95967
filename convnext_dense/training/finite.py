"""Steps whose loss or gradients are not finite are left out, counted and named; a run of nothing else stops and says where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from convnext_dense.expect import expect_whole
from convnext_dense.training.batches import named_pictures
from convnext_dense.training.guard_hook import GuardHook
from convnext_dense.training.guarded_step import GuardedStep
from convnext_dense.training.nan_batch import Suspect, stopped

LINES = 5  # skipped steps that are told one by one


@HOOKS.register_module()
class FiniteHook(GuardHook):
    """Leaves out optimiser steps whose loss or gradients are not finite: parameters, optimiser and buffers stay as they were.

    The log has `grad_norm` of every step, clipped or not, and `skipped`, the number of steps that were left out, once there is
    one. Steps that a GradScaler leaves out to find its scale do not count.

    Args:
        max_skipped: after so many in a row the run stops with an InputError, which names the first layer whose output is not
            finite and the batch's pictures. `nan_batch.pth` in the work directory has both, and the inputs (a further process
            writes nan_batch_rank1.pth).
    """

    priority = 'HIGH'  # buffers are put back before an average takes them in

    def __init__(self, max_skipped: int = 10) -> None:
        expect_whole('FiniteHook.max_skipped', max_skipped, 1)
        self.max_skipped = max_skipped
        self.state: dict[str, Any] = dict(in_a_row=0, total=0)
        self.guarded: list[GuardedStep] = []
        self.steps: int | None = None  # asked for when the buffers were kept
        self.buffers: list[tuple[list[Tensor], list[Tensor]]] = []  # (those of the model, kept) by type and device
        self.loaded: list[Tensor] | None = None
        self.suspect: Suspect | None = None  # first batch of the update whose loss was not finite

    def before_train(self, runner: Runner) -> None:
        """Stand in for the steps of the run's optimiser wrappers."""
        self.remove()
        wrapper = runner.optim_wrapper
        every = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        self.guarded = [GuardedStep(one) for one in every if isinstance(one, OptimWrapper)]
        groups = defaultdict(list)
        for buffer in runner.model.buffers():
            groups[buffer.dtype, buffer.device].append(buffer)
        self.buffers = [(group, [torch.empty_like(buffer) for buffer in group]) for group in groups.values()]
        self.steps, self.suspect = None, None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Also the buffers that were kept, in the middle of an accumulation."""
        super().before_save_checkpoint(runner, checkpoint)
        if self.steps is not None and self._asked() == self.steps:
            checkpoint['guards'][type(self).__name__]['buffers'] = [kept for _, group in self.buffers for kept in group]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Also the buffers of an update that was not complete."""
        super().after_load_checkpoint(runner, checkpoint)
        saved = (checkpoint.get('guards') or {}).get(type(self).__name__, {}) if runner._resume else {}
        self.loaded = saved.get('buffers')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """At the start of an update, keep the buffers, of which a forward pass changes norms' statistics."""
        if self._asked() == self.steps:
            return
        self.steps = self._asked()
        for own, kept in self.buffers:
            torch._foreach_copy_(kept, own)
        before, self.loaded = self.loaded, None
        if before is not None:  # the update began before the checkpoint
            for tensor, value in zip([one for _, group in self.buffers for one in group], before, strict=True):
                tensor.copy_(value)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Put buffers back, count, tell, and stop after too many."""
        bad = _not_finite(outputs)
        asked = self._asked() != self.steps
        skipped = asked and any(one.skipped for one in self.guarded)
        if bad or skipped:
            self._put_back()
        if self.suspect is None and (bad or skipped):
            self.suspect = Suspect(runner.iter, data_batch, bad, _numbers(outputs))
        if asked and skipped:
            self._count(runner)
        elif asked and any(one.skipped is False for one in self.guarded):
            self.state['in_a_row'] = 0
        if asked:
            self.suspect = None

    def after_train(self, runner: Runner) -> None:
        """Say how many steps there were, and give the wrappers their own."""
        if self.state['total'] > LINES:
            runner.logger.warning(f'finite: {self.state["total"]} steps were left out in all')
        self.remove()

    def remove(self) -> None:
        """Give the optimiser wrappers their own steps back."""
        while self.guarded:
            self.guarded.pop().remove()

    def _put_back(self) -> None:
        for own, kept in self.buffers:
            torch._foreach_copy_(own, kept)

    def _asked(self) -> int:
        return sum(one.steps for one in self.guarded)

    def _count(self, runner: Runner) -> None:
        """Every process is here at the same iteration, since all have the same gradients."""
        state, suspect = self.state, self.suspect
        assert suspect is not None
        state['in_a_row'] += 1
        state['total'] += 1
        runner.message_hub.update_scalar('train/skipped', state['total'])
        if state['total'] <= LINES:
            own = (', '.join(suspect.bad), f'iteration {suspect.iteration + 1}', named_pictures(suspect.batch))
            every = all_gather_object(own)
            what, where, pictures = next((one for one in every if one[0]), own)
            runner.logger.warning(
                f'finite: {where}: {what or "the gradient"} is not finite, the step is left out; pictures: {pictures}'
                + ('; further ones are counted as `skipped` in the log' if state['total'] == LINES else '')
            )
        if state['in_a_row'] >= self.max_skipped:
            error = stopped(runner, self.guarded[0].wrapper, suspect, state['in_a_row'])
            self._put_back()  # the batch was run again
            raise error


def _numbers(outputs: Any) -> dict[str, float]:
    """The losses as numbers."""
    items = outputs.items() if isinstance(outputs, Mapping) else ()
    return {
        name: float(value.detach() if isinstance(value, Tensor) else value)
        for name, value in items
        if isinstance(value, (int, float, Tensor))
    }


def _not_finite(outputs: Any) -> list[str]:
    """Names of losses that are not finite; of the sum only where it alone is not."""
    if isinstance(outputs, Mapping) and 'loss' in outputs and isfinite(_numbers(dict(loss=outputs['loss']))['loss']):
        return []
    bad = [name for name, value in _numbers(outputs).items() if not isfinite(value)]
    return [name for name in bad if name != 'loss'] or bad
