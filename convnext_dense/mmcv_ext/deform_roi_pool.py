"""Deformable RoI pooling (arXiv 1703.06211, 1811.11168): the mean of bilinear samples of bins that are moved by offsets.

Legend: B images, C channels, H W map, K RoIs, h w output, N RoIs that are worked on at once, G samples of a bin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from convnext_dense.mmcv_ext.operands import check_floats, check_rois, check_shape, lift
from convnext_dense.mmcv_ext.sampling import Corners, add_gradient, as_rows, corners, grids, sums

VALUES = 1 << 22  # of the map that are read at once in the backward


class _Part(NamedTuple):
    """Some RoIs whose bins have equally many samples, at least one."""

    rois: Tensor  # (N,) their indices
    y: Tensor  # (N, h, w, G)
    x: Tensor
    near: Corners
    sides: Tensor  # (N, 2) width and height in pixels of the map


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """input (B, C, H, W), rois (K, 5) as (batch index, x1, y1, x2, y2) in image pixels -> output (K, C, h, w).

    offset (K, 2, h, w) moves a bin to the right and down, in `gamma` of the RoI's width and height; an empty one moves none. A
    bin whose offset is not finite is NaN.
    """
    size = (pooled_height, pooled_width)
    _check('deform_roi_pool_forward', input, rois, offset, output, size)
    rows = as_rows(input)
    output.zero_()
    for part in _parts(input, rois, offset, size, spatial_scale, sampling_ratio, gamma, None):
        samples = part.y.shape[3]
        index, weight = (tensor.flatten(3).flatten(0, 2) for tensor in part.near[:2])  # (N * h * w, 4 * G)
        values = sums(rows, index, weight) / samples
        output[part.rois] = values.view(len(part.rois), *size, input.shape[1]).permute(0, 3, 1, 2).to(output.dtype)


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Add to grad_input (B, C, H, W) and grad_offset (K, 2, h, w) the gradients of grad_output (K, C, h, w).

    Within a pixel of the map's edge, where samples take the value at the edge, the slope along an offset is mmcv's: that of the
    plane through the four pixels, carried on beyond them.
    """
    size = (pooled_height, pooled_width)
    _check('deform_roi_pool_backward', input, rois, offset, grad_output, size)
    check_floats('deform_roi_pool_backward', grad_output=grad_output, grad_input=grad_input, grad_offset=grad_offset)
    batch, channels, height, width = input.shape
    rows = as_rows(input)
    grads = lift(grad_output).to(rows.dtype).permute(0, 2, 3, 1)  # (K, h, w, C)
    into = torch.zeros_like(rows)
    most = max(1, VALUES // max(1, 4 * channels))
    for part in _parts(input, rois, offset, size, spatial_scale, sampling_ratio, gamma, most):
        samples = part.y.shape[3]
        index, weight = (tensor.flatten(3).flatten(0, 2) for tensor in part.near[:2])
        grad = grads[part.rois].flatten(0, 2) / samples  # (N * h * w, C)
        add_gradient(into, grad, index, weight)
        if offset.numel() and rows.numel():
            pixels = torch.matmul(rows[index], grad[:, :, None]).view(*part.y.shape, 4)  # (N, h, w, G, 4)
            slope = torch.stack(_slopes(pixels, part), dim=1)  # (N, 2, h, w)
            moved = gamma * part.sides[:, :, None, None] * slope
            grad_offset[part.rois] += moved.to(grad_offset.dtype)
    grad_input += into.view(batch, height, width, channels).permute(0, 3, 1, 2).to(grad_input.dtype)


def _check(name: str, input: Tensor, rois: Tensor, offset: Tensor, output: Tensor, size: tuple[int, int]) -> None:
    check_rois(name, input, rois, 5)
    check_floats(name, input=input, rois=rois, offset=offset, output=output)
    check_shape(name, 'output', output, len(rois), input.shape[1], *size)
    if offset.numel():
        check_shape(name, 'offset', offset, len(rois), 2, *size)


def _parts(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    size: tuple[int, int],
    scale: float,
    ratio: int,
    gamma: float,
    most: int | None,
) -> Iterator[_Part]:
    height, width = input.shape[2:]
    dtype = lift(input).dtype
    rois, offset = rois.detach().to(dtype), offset.detach().to(dtype)
    edges = rois[:, 1:] * scale - 0.5
    starts, sides = edges[:, :2], edges[:, 2:] - edges[:, :2]
    for grid in grids('deform_roi_pool', sides[:, 1], sides[:, 0], size, ratio, most):
        if grid.height * grid.width == 0:
            continue
        some = grid.rois
        ranks = [torch.arange(count, device=rois.device, dtype=dtype) for count in size]
        x, y = starts[some, 0, None, None], starts[some, 1, None, None]  # (N, 1, 1)
        if offset.numel():
            moved = gamma * sides[some][:, :, None, None] * offset[some]  # (N, 2, h, w)
            x, y = x + moved[:, 0], y + moved[:, 1]
        side_x, side_y = ((sides[some, axis] / size[1 - axis])[:, None, None] for axis in (0, 1))
        step_y, step_x = grid.steps(rois)
        y = (y + ranks[0][:, None] * side_y)[..., None, None] + (step_y * side_y / grid.height)[:, None, None]
        x = (x + ranks[1] * side_x)[..., None, None] + (step_x * side_x / grid.width)[:, None, None]
        shape = (len(some), *size, grid.height, grid.width)
        y, x = (at.expand(shape).flatten(3) for at in (y, x))
        near = corners(y, x, rois[some, 0].long()[:, None, None, None], height, width)
        yield _Part(some, y, x, near, sides[some])


def _slopes(pixels: Tensor, part: _Part) -> tuple[Tensor, Tensor]:
    """Sums over the samples of the slopes to the right and down, of pixels (N, h, w, G, 4) times the gradient -> (N, h, w)."""
    a, b, c, d = pixels.unbind(-1)  # above left, above right, below left, below right
    (top, low), (left, right) = part.near.y, part.near.x
    y, x = part.y, part.x
    across = d * (y - top) + b * (low - y) + c * (top - y) + a * (y - low)
    down = d * (x - left) + c * (right - x) + b * (left - x) + a * (x - right)
    return torch.where(part.near.within, across, 0).sum(-1), torch.where(part.near.within, down, 0).sum(-1)
