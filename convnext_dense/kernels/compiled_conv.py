"""The backbone's convolutions as a custom operator where torch.compile records them.

Inductor's lowering of a convolution's backward pass reads the strides of its maps as numbers, so that every image size would
compile anew (PyTorch 2.14). It calls the library's kernels in either case; an operator that it does not look into keeps the
sizes symbols, and the maps channels last.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convnext_dense.kernels.depthwise import depthwise_grads


class Conv2d(nn.Conv2d):
    """nn.Conv2d as the backbone has it: patches, and 7x7 depthwise, always with a bias."""

    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        # Exported and traced graphs are of the standard operators.
        if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
            return super().forward(x)
        weight, bias, device = self.weight, self.bias, x.device.type
        if torch.is_autocast_enabled(device):
            x, weight, bias = (t.to(torch.get_autocast_dtype(device)) for t in (x, weight, bias))
        return _conv2d(x, weight, bias, self.stride[0], self.padding[0], self.groups)


@torch.library.custom_op('convnext_dense::conv2d', mutates_args=())
def _conv2d(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    out = F.conv2d(x, weight, bias, stride, padding, groups=groups)
    return out.contiguous(memory_format=torch.channels_last)


@_conv2d.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    height, width = ((side + 2 * padding - weight.shape[-1]) // stride + 1 for side in x.shape[2:])
    return _channels_last(x, len(x), len(weight), height, width)


@torch.library.custom_op('convnext_dense::conv2d_backward', mutates_args=())
def _conv2d_backward(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, groups: int, need_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x (empty where it needs none, as the image), weight and bias."""
    grad, needed = grad.contiguous(memory_format=torch.channels_last), [need_x, True, True]
    if groups > 1 and grad.device.type == 'cpu':
        grad_x, grad_weight, grad_bias = depthwise_grads(grad, x, weight, needed)
    else:
        arguments = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, needed
        grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(grad, x, weight, [len(weight)], *arguments)
    assert grad_weight is not None and grad_bias is not None
    grad_x = x.new_empty(0) if grad_x is None else grad_x.contiguous(memory_format=torch.channels_last)
    return grad_x, grad_weight.contiguous(), grad_bias


@_conv2d_backward.register_fake
def _(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, groups: int, need_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = _channels_last(x, *x.shape) if need_x else x.new_empty(0)
    return grad_x, weight.new_empty(weight.shape), weight.new_empty(len(weight))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, *ctx.settings = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    need_x = ctx.needs_input_grad[0]
    grad_x, *grads = _conv2d_backward(grad, *ctx.saved_tensors, *ctx.settings, need_x)
    return grad_x if need_x else None, *grads, None, None, None


_conv2d.register_autograd(_backward, setup_context=_keep)


def _channels_last(like: Tensor, batch: int, channels: int, height: int, width: int) -> Tensor:
    return like.new_empty(batch, height, width, channels).permute(0, 3, 1, 2)
