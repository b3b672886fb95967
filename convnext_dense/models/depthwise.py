"""The 7x7 depthwise convolution with a faster backward pass on the CPU; same values as F.conv2d's.

oneDNN has no depthwise kernel for the weight gradient of channels-last maps: it pads each channel's group of one to sixteen
and throws fifteen sixteenths away. Here 4x4 pixels become sixteen channels first, so that the sixteen lanes all count and a
3x3 kernel of blocks covers the 7x7 one: 288 multiply-adds a pixel and channel instead of 1,568.

Legend: B images, C channels, H W height and width, K kernel side, R block side.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

KERNEL, BLOCK = 7, 4
REACH = KERNEL // 2  # pixels that the kernel looks to each side: less than a block, so one block to each side covers it
# By blocks from these pixels of the whole batch up, or from these channels; below, oneDNN's own way is faster (measured).
MIN_PIXELS = {torch.float32: 1024, torch.bfloat16: 64}
MIN_CHANNELS = 512


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.conv2d of (B, C, H, W) by (C, 1, 7, 7) with zero padding 3; differentiable once."""
    return _DepthwiseConv.apply(x, weight, bias)


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=REACH, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return depthwise_grads(grad, *ctx.saved_tensors, ctx.needs_input_grad)


def depthwise_grads(
    grad: Tensor, x: Tensor, weight: Tensor, needed: Sequence[bool] = (True, True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients of x, weight and bias, or None for those not needed."""
    grad_x = grad_weight = grad_bias = None
    if needed[0]:
        # The forward kernel on the flipped weight: twice as fast as oneDNN's backward one.
        grad_x = F.conv2d(grad, weight.flip(2, 3), padding=REACH, groups=len(weight))
    if needed[1]:
        by_blocks = x.dtype in MIN_PIXELS and (len(weight) >= MIN_CHANNELS or x[:, 0].numel() >= MIN_PIXELS[x.dtype])
        if by_blocks:
            grad_weight = weight_grad_by_blocks(x, grad).to(weight.dtype)
        else:
            grad_weight = _conv_weight_grad(x, grad, weight, padding=REACH, groups=len(weight))
    if needed[2]:
        grad_bias = grad.sum((0, 2, 3))
    return grad_x, grad_weight, grad_bias


def weight_grad_by_blocks(x: Tensor, grad: Tensor) -> Tensor:
    """Gradient (C, 1, 7, 7) of the weight, from the input and the output's gradient, both (B, C, H, W)."""
    channels = x.shape[1]
    rest = [-side % BLOCK for side in x.shape[-2:]]
    if any(rest):
        x, grad = (F.pad(t, (0, rest[1], 0, rest[0])) for t in (x, grad))
    x, grad = (_blocks(t) for t in (x, grad))  # (B, C x R x R, H / R, W / R)
    weight = x.new_empty(channels * BLOCK**2, BLOCK**2, 3, 3)
    pairs = _conv_weight_grad(x, grad, weight, padding=1, groups=channels)  # each place in a block with each near it
    table = _offsets(torch.promote_types(x.dtype, torch.float32), x.device)
    return (pairs.reshape(channels, -1).to(table.dtype) @ table).view(channels, 1, KERNEL, KERNEL)


def _blocks(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C x R x R, H / R, W / R), channels last: pixel_unshuffle, in two copies with long runs."""
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // BLOCK, BLOCK, w // BLOCK, BLOCK, c)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, BLOCK**2, c)
    return x.transpose(1, 2).reshape(b, h // BLOCK, w // BLOCK, c * BLOCK**2).permute(0, 3, 1, 2)


def _conv_weight_grad(x: Tensor, grad: Tensor, weight: Tensor, padding: int, groups: int) -> Tensor:
    one, zero = [1, 1], [0, 0]
    arguments = (grad, x, weight, None, one, [padding] * 2, one, False, zero, groups, [False, True, False])
    return torch.ops.aten.convolution_backward(*arguments)[1]


@lru_cache(maxsize=8)
def _offsets(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(R x R x R x R x 9, 49): 1 where an output place, an input place and a block offset make a tap."""
    place, tap = torch.arange(BLOCK)[:, None], torch.arange(KERNEL)[None]
    at = place + tap - REACH  # pixels from the output block's edge
    axis = torch.zeros(BLOCK, BLOCK, 3, KERNEL)  # output place, input place, block offset, tap
    axis[place, at % BLOCK, at // BLOCK + 1, tap] = 1
    table = torch.einsum('aeit,bfju->abefijtu', axis, axis)
    return table.reshape(-1, KERNEL**2).to(dtype=dtype, device=device)
