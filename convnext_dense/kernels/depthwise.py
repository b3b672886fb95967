"""The 7x7 depthwise convolution with a faster backward pass on the CPU; same values as F.conv2d's.

oneDNN has no depthwise kernel for the weight gradient of channels-last maps: it pads each channel's group of one to sixteen
and throws fifteen sixteenths away. But that gradient is a depthwise convolution too, of the padded input with the output's
gradient for a kernel, and for those there is a fast one. It is taken part by part, so that a part stays in the cache.

Legend: B images, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

KERNEL = 7
REACH = KERNEL // 2  # pixels that the kernel looks to each side
PART = 32  # largest side of a part, in pixels (measured)
MIN_VALUES = {torch.float32: 12_000, torch.bfloat16: 12_000}  # of an image; below, and in other types, oneDNN's own way


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
        x, weight = ctx.saved_tensors
        return depthwise_grads(grad, x, weight, ctx.needs_input_grad)


def depthwise_grads(
    grad: Tensor, x: Tensor, weight: Tensor, needed: Sequence[bool] = (True, True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients of x, weight and bias, or None for those not needed."""
    grad_x = grad_weight = grad_bias = None
    if needed[0]:
        # The forward kernel on the flipped weight: twice as fast as oneDNN's backward one.
        grad_x = F.conv2d(grad, weight.flip(2, 3), padding=REACH, groups=len(weight))
    if needed[1]:
        if x.shape[1:].numel() >= MIN_VALUES.get(x.dtype, torch.inf):
            grad_weight = weight_grad_by_parts(x, grad).to(weight.dtype)
        else:
            grad_weight = _weight_grad(x, grad, weight)
    if needed[2]:
        grad_bias = grad.sum((0, 2, 3))
    return grad_x, grad_weight, grad_bias


def weight_grad_by_parts(x: Tensor, grad: Tensor) -> Tensor:
    """Gradient (C, 1, 7, 7) of the weight, from the input and the output's gradient, both (B, C, H, W)."""
    channels, (height, width) = x.shape[1], x.shape[-2:]
    x = F.pad(x, [REACH] * 4)
    total = x.new_zeros(1, channels, KERNEL, KERNEL, dtype=torch.promote_types(x.dtype, torch.float32))
    for image in range(len(x)):
        for top, down in _parts(height):
            for left, across in _parts(width):
                kernel = grad[image, :, None, top : top + down, left : left + across].contiguous()
                part = x[image : image + 1, :, top : top + down + 2 * REACH, left : left + across + 2 * REACH]
                total += F.conv2d(part, kernel, groups=channels)
    return total.transpose(0, 1)


def _parts(side: int) -> Iterator[tuple[int, int]]:
    """(first, size) of the equal parts of a side, the last one perhaps smaller."""
    size = -(-side // -(-side // PART))
    for first in range(0, side, size):
        yield first, min(size, side - first)


def _weight_grad(x: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    one, zero = [1, 1], [0, 0]
    arguments = (grad, x, weight, None, one, [REACH] * 2, one, False, zero, len(weight), [False, True, False])
    return torch.ops.aten.convolution_backward(*arguments)[1]
