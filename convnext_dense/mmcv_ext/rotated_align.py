"""RoIAlign (arXiv 1703.06870) of rotated RoIs (arXiv 1703.01086): mmcv's roi_align_rotated.

Legend: B images, C channels, H W map, K RoIs, h w output, N RoIs that are worked on at once, G samples of a bin.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import check_floats, check_rois, check_shape, lift
from convnext_dense.mmcv_ext.sampling import add_gradient, as_rows, corners, grids, sums


def roi_align_rotated_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    clockwise: bool,
) -> None:
    """input (B, C, H, W), rois (K, 6) as (batch index, x, y, width, height, angle) in image pixels -> output (K, C, h, w).

    (x, y) is the centre, the angle is in radians, counter-clockwise unless `clockwise`.
    """
    name, size = 'roi_align_rotated_forward', (pooled_height, pooled_width)
    check_rois(name, input, rois, 6)
    check_shape(name, 'output', output, len(rois), input.shape[1], *size)
    rows = as_rows(input)
    output.zero_()
    for some, index, weight in _bins(name, input, rois, size, spatial_scale, sampling_ratio, aligned, clockwise):
        values = sums(rows, index, weight)
        output[some] = values.view(len(some), *size, input.shape[1]).permute(0, 3, 1, 2).to(output.dtype)


def roi_align_rotated_backward(
    top_grad: Tensor,
    rois: Tensor,
    bottom_grad: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    clockwise: bool,
) -> None:
    """Add to bottom_grad (B, C, H, W) the gradient of top_grad (K, C, h, w)."""
    name, size = 'roi_align_rotated_backward', (pooled_height, pooled_width)
    check_rois(name, bottom_grad, rois, 6)
    check_floats(name, top_grad=top_grad, bottom_grad=bottom_grad)
    batch, channels, height, width = bottom_grad.shape
    check_shape(name, 'top_grad', top_grad, len(rois), channels, *size)
    grads = lift(top_grad).permute(0, 2, 3, 1)  # (K, h, w, C)
    into = grads.new_zeros(batch * height * width, channels)
    for some, index, weight in _bins(name, bottom_grad, rois, size, spatial_scale, sampling_ratio, aligned, clockwise):
        add_gradient(into, grads[some].flatten(0, 2), index, weight)
    bottom_grad += into.view(batch, height, width, channels).permute(0, 3, 1, 2).to(bottom_grad.dtype)


def _bins(
    name: str, map: Tensor, rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool, clockwise: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """RoIs (N,), and of each of their bins the pixels and weights (N * h * w, 4 * G) that its mean is made of."""
    height, width = map.shape[2:]
    rois = rois.detach().to(lift(map).dtype)
    centre = rois[:, 1:3] * scale - (0.5 if aligned else 0.0)
    sides = rois[:, 3:5] * scale
    if not aligned:
        sides = sides.clamp(min=1)
    elif (sides < 0).any():
        raise InputError(
            f'{name}: expected RoIs (batch index, x, y, width, height, angle) of no negative size, got one of such'
        )
    angle = -rois[:, 5] if clockwise else rois[:, 5]
    cos, sin = (part[:, None, None, None, None] for part in (angle.cos(), angle.sin()))
    for grid in grids(name, sides[:, 1], sides[:, 0], size, ratio):
        if grid.height * grid.width == 0:
            continue
        some = grid.rois
        wide, tall = (side[:, None, None, None, None] for side in sides[some].unbind(1))
        ranks_y, ranks_x = (torch.arange(count, device=rois.device, dtype=rois.dtype) for count in size)
        step_y, step_x = grid.steps(rois)
        bin_y, bin_x = tall / size[0], wide / size[1]
        # From the RoI's centre, along its own axes: (N, h, 1, grid height, 1) and (N, 1, w, 1, grid width).
        v = -tall / 2 + ranks_y[:, None, None, None] * bin_y + step_y * bin_y / grid.height
        u = -wide / 2 + ranks_x[:, None, None] * bin_x + step_x * bin_x / grid.width
        x0, y0 = (at[:, None, None, None, None] for at in centre[some].unbind(1))
        y = v * cos[some] - u * sin[some] + y0
        x = v * sin[some] + u * cos[some] + x0
        near = corners(y.flatten(3), x.flatten(3), rois[some, 0].long()[:, None, None, None], height, width)
        samples = grid.height * grid.width
        yield some, near.pixels.flatten(3).flatten(0, 2), near.weight.flatten(3).flatten(0, 2) / samples
