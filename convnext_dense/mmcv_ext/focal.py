"""Focal loss (arXiv 1708.02002) of a softmax: mmcv's softmax_focal_loss.

Legend: N samples, C classes, p the probability of a sample's class. mmcv hands over the softmax rather than the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import check_device, check_floats, check_indices, check_shape, lift


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """input (N, C) probabilities, target (N,), weight (C,) or empty -> output (N,): -alpha (1 - p)^gamma log p, times weight.

    A negative target counts nothing.
    """
    name = 'softmax_focal_loss_forward'
    _check(name, input, target, weight)
    check_shape(name, 'output', output, len(input))
    p, factor = _of_target(input, target, weight)
    output.copy_(-alpha * factor * (1 - p).pow(gamma) * _log(p))


def softmax_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """The gradient by the logits in grad_input (N, C); `buff` (N,) gets the derivative by log p, as by mmcv's kernel."""
    name = 'softmax_focal_loss_backward'
    _check(name, input, target, weight)
    check_shape(name, 'buff', buff, len(input))
    check_shape(name, 'grad_input', grad_input, *input.shape)
    p, factor = _of_target(input, target, weight)
    # At p = 1 the second term is 0 for each gamma, where a negative power would make it no number.
    rest = torch.where(p < 1, 1 - p, 1)
    slope = alpha * factor * (gamma * rest.pow(gamma - 1) * p * _log(p) - (1 - p).pow(gamma))
    buff.copy_(slope)
    grad = -slope[:, None] * lift(input)
    own = target.clamp(min=0)[:, None]
    grad_input.copy_(grad.scatter_add(1, own, slope[:, None]) if grad.numel() else grad)


def check_focal(name: str, input: Tensor, target: Tensor, weight: Tensor) -> None:
    """Raise InputError unless input is (N, C), target (N,) of int64 and weight (C,) or empty."""
    check_floats(name, input=input, weight=weight)
    check_indices(name, target=target)
    check_device(name, input=input, target=target)
    check_shape(name, 'input', input, 'N', 'C')
    check_shape(name, 'target', target, len(input))
    if weight.numel():
        check_shape(name, 'weight', weight, input.shape[1])


def _check(name: str, input: Tensor, target: Tensor, weight: Tensor) -> None:
    check_focal(name, input, target, weight)
    classes = input.shape[1]
    if (target >= classes).any():
        raise InputError(f'{name}: expected targets below {classes}, the number of classes, got {int(target.max())}')


def _of_target(input: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of each sample's class and its weight, both (N,); weight 0 where the target is negative."""
    own = target.clamp(min=0)
    if not input.numel():
        return lift(input).new_ones(len(input)), lift(input).new_zeros(len(input))
    p = lift(input).gather(1, own[:, None])[:, 0]
    counted = (target >= 0).to(p.dtype)
    return p, counted * lift(weight).to(p.dtype)[own] if weight.numel() else counted


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=torch.finfo(torch.float32).tiny).log()
