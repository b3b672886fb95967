"""Checks of what is given: a value of the wrong type or range is an InputError that says expected and got."""

from __future__ import annotations

import math
import reprlib
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeGuard

from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def whole(value: Any, least: int) -> bool:
    """Whether it is an integer from `least` up; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and not value < least


def number(value: Any, least: float = -math.inf) -> TypeGuard[float]:
    """Whether it is a finite number from `least` up."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and not value < least


def expect_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InputError(f'{name}: expected True or False, got {brief(value)}')


def expect_whole(name: str, value: Any, least: int) -> None:
    if not whole(value, least):
        raise InputError(f'{name}: expected a whole number from {least} up, got {brief(value)}')


def expect_number(name: str, value: Any, least: float) -> None:
    if not number(value, least):
        raise InputError(f'{name}: expected a finite number from {least:g} up, got {brief(value)}')


def brief(value: Any) -> str:
    """A value for a message, on one line: deep and long ones shortened."""
    short = reprlib.Repr()
    short.maxtuple = short.maxlist = short.maxdict = 20
    short.maxstring = short.maxlong = short.maxother = 100
    text = ' '.join(short.repr(value).split())
    return text if len(text) <= 100 else f'{text[:100]}...'


def expect_images(x: Any, weight: Tensor) -> None:
    """Stop at what is no batch of images for a convolution with this weight, (C, channels, h, w)."""
    import torch  # here: other checks are made without it

    channels = weight.shape[1]
    wanted = f'input: expected a dense tensor of floats (B, {channels}, H, W)'
    if not isinstance(x, torch.Tensor):
        raise InputError(f'{wanted}, got {type(x).__name__}; make a tensor of it, as with torch.as_tensor')
    if x.is_nested or x.layout != torch.strided:
        raise InputError(f'{wanted}, got a {"nested" if x.is_nested else x.layout} one; call to_dense() or stack the images')
    if x.ndim != 4:
        how = 'add the batch dimension: x[None]' if x.ndim == 3 else 'bring it to four dimensions'
        raise InputError(f'{wanted}, got {tuple(x.shape)}; {how}')
    if x.shape[1] != channels:
        last = 'put the channels first: x.permute(0, 3, 1, 2)' if x.shape[3] == channels else f'or set in_channels={x.shape[1]}'
        raise InputError(f'{wanted}, got {x.shape[1]} channels in {tuple(x.shape)}; {last}')
    if not x.is_floating_point():
        raise InputError(f'{wanted}, got {x.dtype}; convert it with x.float() and normalise it')
    if x.device != weight.device:
        raise InputError(f'input: expected it on {weight.device}, where the weights are, got {x.device}; move one of them')
    device = x.device.type
    cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if x.dtype != weight.dtype and (not cast or torch.float64 in (x.dtype, weight.dtype)):
        raise InputError(f'input: expected {weight.dtype}, the type of the weights, got {x.dtype}; convert one of them')
