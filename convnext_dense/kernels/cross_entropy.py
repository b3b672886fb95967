"""Cross entropy of upsampled logits, a few rows at a time, without the full-size map of all classes.

For an image of 512x512 and 150 classes the upsampled logits take 157 MB, and so do their log-softmax and its gradient. The
loss is a sum over pixels: the forward pass adds it up strip by strip, and its gradient with it, at the size of the logits
(docs/kernels.md, section 6).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from convnext_dense.errors import InputError
from convnext_dense.kernels.compiling import recording
from convnext_dense.kernels.strips import Resized, WholeMap, strips

MIN_CLASSES = 16  # with fewer, PyTorch does not vectorise log-softmax of rows of classes: the plain way is faster (measured)


def upsampled_cross_entropy(
    logits: Tensor, labels: Tensor, ignore_index: int = 255, align_corners: bool = False
) -> tuple[Tensor, Tensor]:
    """Cross entropy of logits (B, C, h, w) upsampled to the labels (B, H, W): its sum, and the count of right pixels.

    Bilinear, in float32 or wider; differentiable once.
    """
    check_labels(labels, logits.shape[1], ignore_index)
    return _UpsampledCrossEntropy.apply(logits, labels, ignore_index, align_corners)


def check_labels(labels: Tensor, classes: int, ignore_index: int) -> None:
    """Raise InputError for a label that is no class.

    Asked of the CPU alone: elsewhere the answer would wait for the device. A graph that is recorded cannot look at values.
    """
    if labels.device.type != 'cpu' or recording():
        return
    wrong = labels[(labels != ignore_index) & ((labels < 0) | (labels >= classes))]
    if len(wrong):
        raise InputError(
            f'labels: expected classes 0 to {classes - 1}, or {ignore_index} where a pixel is ignored; got {wrong[0].item()}; '
            'set num_classes to the number of classes of the data'
        )


class _UpsampledCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, ignore_index: int, align_corners: bool) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(logits.dtype, torch.float32)
        exact = wide if logits.device.type == 'mps' else torch.float64  # which Apple's devices do not have
        total, correct = logits.new_zeros(2, dtype=exact)
        size, channels = (labels.shape[1], labels.shape[2]), logits.shape[1]
        grads = []
        with torch.autocast(logits.device.type, enabled=False):
            for image, target in zip(logits, labels):
                source = WholeMap(image)
                resized = Resized(source, size, align_corners)
                grad = torch.zeros_like(source.data) if ctx.needs_input_grad[0] else None
                for start, stop in strips(size, channels):
                    x = resized.rows(start, stop).reshape(-1, channels)
                    goal = target[start:stop].reshape(-1)
                    counts = goal != ignore_index
                    goal = goal.where(counts, 0)[:, None]
                    x = torch.log_softmax(x, dim=1)
                    right = x.gather(1, goal)[:, 0]
                    total -= right.where(counts, 0).sum(dtype=exact)
                    correct += ((goal[:, 0] == x.argmax(1)) & counts).sum()
                    if grad is not None:
                        x = x.exp_().scatter_add_(1, goal, x.new_full((1, 1), -1).expand_as(goal))
                        x *= counts[:, None]
                        resized.grad_to(x.view(stop - start, size[1], channels), start, stop, grad)
                if grad is not None:
                    grads.append(grad.permute(2, 0, 1).to(logits.dtype))
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(torch.stack(grads) if grads else torch.zeros_like(logits))
        ctx.mark_non_differentiable(correct)
        return total.to(wide), correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (low,) = ctx.saved_tensors
        return low * grad.to(low.dtype), None, None, None
