"""RoI pooling of Fast R-CNN (arXiv 1504.08083) as mmcv defines it: the maximum of each bin's pixels, corners not rounded.

Legend: B images, C channels, H W map, K RoIs, h w output, N bins that are worked on at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.mmcv_ext.operands import check_floats, check_rois, check_shape, lift
from convnext_dense.mmcv_ext.sampling import as_rows

VALUES = 1 << 22  # of the map that are compared at once


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """input (B, C, H, W), rois (K, 5) as (batch index, x1, y1, x2, y2) in image pixels -> output (K, C, h, w).

    `argmax` (K, C, h, w) gets the place y * W + x of the first maximum, -1 where a bin has no pixel: its output is 0. Numbers
    that are not are passed over, as by mmcv's kernel.
    """
    name = 'roi_pool_forward'
    check_rois(name, input, rois, 5)
    _, channels, height, width = input.shape
    check_shape(name, 'output', output, len(rois), channels, pooled_height, pooled_width)
    check_shape(name, 'argmax', argmax, *output.shape)
    output.zero_()
    argmax.fill_(-1)
    rows = as_rows(input)
    lowest = torch.finfo(rows.dtype).min
    rows = rows.masked_fill(~(rows > lowest), lowest)
    rois = rois.detach().to(rows.dtype)
    x1, y1, x2, y2 = (edge * spatial_scale for edge in (rois[:, 1:] + rois.new_tensor([0, 0, 1, 1])).unbind(1))
    real = (x2 > x1) & (y2 > y1)
    top, rows_of_bin = _bins(y1, y2, real, pooled_height, height)  # (K, h)
    left, columns_of_bin = _bins(x1, x2, real, pooled_width, width)  # (K, w)
    sides = rows_of_bin[:, :, None] * (width + 1) + columns_of_bin[:, None, :]  # (K, h, w), two numbers as one
    kinds, kind = sides.unique(return_inverse=True)
    first = rois[:, 0].long() * height
    for number, side in enumerate(kinds.tolist()):
        tall, wide = divmod(side, width + 1)
        if tall == 0 or wide == 0:
            continue
        dy = torch.arange(tall, device=rows.device)[:, None].expand(tall, wide).flatten()
        dx = torch.arange(wide, device=rows.device).repeat(tall)
        for part in (kind == number).nonzero().split(max(1, VALUES // max(1, tall * wide * channels))):
            roi, i, j = part.unbind(1)
            y, x = top[roi, i, None] + dy, left[roi, j, None] + dx  # (N, tall * wide)
            best, at = rows[(first[roi, None] + y) * width + x].max(dim=1)  # (N, C)
            place = torch.where(best > lowest, (y * width + x).gather(1, at), -1)
            output[roi, :, i, j] = best.to(output.dtype)
            argmax[roi, :, i, j] = place.to(argmax.dtype)


def _bins(start: Tensor, stop: Tensor, real: Tensor, count: int, length: int) -> tuple[Tensor, Tensor]:
    """First pixel and number of pixels (K, count) of the bins of RoIs (K,) along an axis; none where a RoI is not real."""
    number = torch.arange(count + 1, device=start.device, dtype=start.dtype)
    edges = number * ((stop - start) / count)[:, None] + start[:, None]  # (K, count + 1)
    first, end = (edge.clamp(0, length).long() for edge in (edges[:, :-1].floor(), edges[:, 1:].ceil()))
    return first, torch.where(real[:, None], (end - first).clamp(min=0), 0)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add grad_output (K, C, h, w) to grad_input (B, C, H, W) at the places that `argmax` names."""
    name = 'roi_pool_backward'
    check_rois(name, grad_input, rois, 5)
    check_floats(name, grad_output=grad_output, grad_input=grad_input)
    channels, height, width = grad_input.shape[1:]
    check_shape(name, 'grad_output', grad_output, len(rois), channels, pooled_height, pooled_width)
    check_shape(name, 'argmax', argmax, *grad_output.shape)
    grad = lift(grad_output)
    into = grad.new_zeros(grad_input.numel())
    plane = rois[:, :1].long() * channels + torch.arange(channels, device=rois.device)  # (K, C)
    place = plane[:, :, None, None] * (height * width) + argmax.clamp(min=0)
    if into.numel():
        into.scatter_add_(0, place.flatten(), torch.where(argmax >= 0, grad, 0).flatten())
    grad_input += into.view(grad_input.shape).to(grad_input.dtype)
