"""Where a faster path is the same: on the plain layers themselves, whose weights it reads and whose forward it skips.

A layer that is hooked, pruned, parametrised, quantised, wrapped by an adapter or replaced does more than its weights say; so do
the transforms of torch.func and forward-mode gradients. All of them take the plain path.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as global_hooks

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.kernels.compiling import recording

FUSED = (True, False, 'auto')
MIN_WORK = 6_000_000  # below, a faster path costs more than it saves: 650 pixels of 96 channels, 40 of 384 (measured)
HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')
GLOBAL_HOOKS = tuple(getattr(global_hooks, f'_global{name}') for name in ('_forward_hooks', '_forward_pre_hooks'))
GLOBAL_HOOKS += tuple(getattr(global_hooks, f'_global{name}') for name in ('_backward_hooks', '_backward_pre_hooks'))


def expect_fused(value: object) -> None:
    """Raise InputError for anything but True, False and 'auto'."""
    if not any(value is one or (isinstance(value, str) and value == one) for one in FUSED):
        raise InputError(f"fused: expected 'auto' (faster paths on the CPU), True or False; got {brief(value)}")


def chosen(fused: bool | str, x: Tensor, work: int | None = None) -> bool:
    """Whether the faster paths are asked for and can run on this input.

    'auto' asks for them on the CPU alone, and where `work`, channels squared times pixels of all images, is MIN_WORK or more.
    """
    if type(x) not in (Tensor, nn.Parameter) or recording() or _transformed():
        return False
    if fused == 'auto':
        return x.device.type == 'cpu' and (work is None or work >= MIN_WORK)
    return bool(fused)


def is_plain(layer: nn.Module, *classes: type[nn.Module]) -> bool:
    """Whether a layer is of one of these classes itself, does nothing beside them, and holds plain tensors."""
    if type(layer) not in classes or 'forward' in vars(layer):
        return False
    if any(getattr(layer, name) for name in HOOKS) or any(GLOBAL_HOOKS):
        return False
    # A quantised or distributed tensor is of a class of its own; a pruned weight is no parameter, but has a hook.
    return all(type(tensor) is nn.Parameter for tensor in layer._parameters.values() if tensor is not None)


def _transformed() -> bool:
    """Within vmap, grad or another transform of torch.func, or of forward-mode gradients."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
