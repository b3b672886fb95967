"""Where a batch's values cease to be finite, found by running it again with every layer and gradient looked at."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from convnext_dense.training.batches import parts_of


class _BackwardAlone:
    """In an optimiser wrapper's place: the same autocast and the backward pass, and no step."""

    def __init__(self, wrapper: OptimWrapper) -> None:
        self.wrapper = wrapper

    def optim_context(self, model: nn.Module) -> AbstractContextManager[None]:
        return self.wrapper.optim_context(model)

    def update_params(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        loss.backward()


def all_finite(value: Any) -> bool:
    """Whether all floating-point tensors in nested dicts and sequences are finite."""
    tensors = (part for part in parts_of(value) if isinstance(part, Tensor) and part.is_floating_point())
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def first_not_finite(model: Any, wrapper: OptimWrapper, batch: Any) -> str | None:
    """The name of the first layer, in the order in which they run, whose output is not finite for `batch`; where there is none,
    'gradient of NAME' with the parameter whose gradient is the first such in the backward pass; None where all is finite.

    `model` is one with `train_step`, not wrapped. Its gradients and buffers are changed. In several processes all call this,
    since layers may speak to each other.
    """
    found: list[str] = []

    def look(name: str, module: nn.Module, args: Any, output: Any) -> None:
        if not all_finite(output):
            found.append(f'{name} ({type(module).__name__})')

    def look_back(name: str, gradient: Tensor) -> None:
        if not all_finite(gradient):
            found.append(f'gradient of {name}')

    handles = [module.register_forward_hook(partial(look, name)) for name, module in model.named_modules() if name]
    handles += [p.register_hook(partial(look_back, name)) for name, p in model.named_parameters() if p.requires_grad]
    try:
        model.train_step(batch, _BackwardAlone(wrapper))
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
