"""An optimiser step that is left out where the gradients are not finite, the same in every process.

A loss that is not finite makes every gradient NaN, and DistributedDataParallel's mean brings NaN to all processes: each decides
by its own gradients' norm, and all decide alike.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.optim import OptimWrapper
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from convnext_dense.training.sharded import whole


class GuardedStep:
    """Stands in the place of an optimiser wrapper's `step`, `scale_loss` and `clip_func`, until `remove`.

    The norm is computed once, before clipping, which uses it; mmengine logs it as `train/grad_norm` where it clips, and so it
    is logged where it does not. A GradScaler leaves out steps by itself, as a part of its search for a scale.

    Attributes:
        steps: that were asked for.
        skipped: of the last one, whether it was left out; None while a GradScaler looks for its scale.
    """

    def __init__(self, wrapper: OptimWrapper) -> None:
        self.wrapper, self.steps = wrapper, 0
        self.skipped: bool | None = None
        self.norm, self.losses = 0.0, list[Tensor]()
        self._step, self._scale_loss = wrapper.step, wrapper.scale_loss
        self._clip: Callable[..., Any] | None = getattr(wrapper, 'clip_func', None)
        wrapper.step, wrapper.scale_loss = self.step, self.scale_loss
        if self._clip is not None:
            wrapper.clip_func = self.clip

    def remove(self) -> None:
        """Give the wrapper its own methods back."""
        del self.wrapper.step, self.wrapper.scale_loss
        if self._clip is not None:
            self.wrapper.clip_func = self._clip

    def scale_loss(self, loss: Tensor) -> Tensor:
        """As the wrapper's. One that is not finite has no finite gradient; others are multiplied by an exact 1."""
        loss = self._scale_loss(loss)
        self.losses.append(loss.detach())
        return loss * (loss.detach() * 0 + 1)

    def step(self, **kwargs: Any) -> None:
        """As the wrapper's, where the gradients are finite."""
        self.steps += 1
        scaler = getattr(self.wrapper, 'loss_scaler', None)
        if scaler is None or not scaler.is_enabled():
            self._measure()
            self.skipped = not isfinite(self.norm)
            if not self.skipped:
                self._step(**kwargs)
        else:
            self._scaled_step(scaler, kwargs)
        if not self.wrapper.clip_grad_kwargs and isfinite(self.norm):
            self._log()
        self.losses.clear()

    def _scaled_step(self, scaler: Any, kwargs: dict[str, Any]) -> None:
        """The scaler's own step, which is left out where a gradient is not finite."""
        scale = scaler.get_scale()
        if not self.wrapper.clip_grad_kwargs:  # else the wrapper does it, and clips
            scaler.unscale_(self.wrapper.optimizer)
            self._measure()
        self._step(**kwargs)
        self.skipped = False if isfinite(self.norm) else self._no_matter_of_scale(scale) or None

    def _no_matter_of_scale(self, scale: float) -> bool:
        """Whether a smaller scale would not help: it is the least, it is fixed, or the loss of some process is not finite."""
        if scale <= 1 or self.wrapper._scale_update_param is not None:
            return True
        bad = sum((~torch.isfinite(loss)).sum() for loss in self.losses)
        total = torch.as_tensor(bad, dtype=torch.int64, device=self.losses[0].device if self.losses else None)
        all_reduce(total)  # every process is here, since all have the same gradients
        return bool(total > 0)

    def clip(self, params: list[Tensor], **kwargs: Any) -> Tensor | None:
        """As the wrapper's `clip_func`, by the norm that is known."""
        if getattr(self.wrapper, 'loss_scaler', None) is not None:
            self._measure()
        if self.wrapper.grad_name != 'grad_norm':
            self._log()
            self._clip(params, **kwargs)  # type: ignore[misc]
            return None
        clip_grads_with_norm_(params, kwargs['max_norm'], self.total, kwargs.get('foreach'))
        return self.total

    def _measure(self) -> None:
        """The norm of all gradients as they are."""
        settings = self.wrapper.clip_grad_kwargs or {}
        groups = self.wrapper.optimizer.param_groups
        gradients = [param.grad for group in groups for param in group['params'] if param.grad is not None]
        self.total = whole(get_total_norm(gradients, settings.get('norm_type', 2.0), foreach=settings.get('foreach')))
        self.norm = float(self.total)

    def _log(self) -> None:
        self.wrapper.message_hub.update_scalar('train/grad_norm', self.norm)
