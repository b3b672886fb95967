"""RoIAlign (arXiv 1703.06870) with the maximum of a bin's samples in place of their mean: mmcv's pool_mode 'max'.

Legend: B images, C channels, H W map, K RoIs, h w output, N RoIs that are worked on at once, G samples of a bin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.mmcv_ext.operands import check_floats, check_rois, check_shape, lift
from convnext_dense.mmcv_ext.sampling import as_rows, box_edges, corners, grids, sums

VALUES = 1 << 22  # of samples that are compared at once
PLACES = 1 << 18  # of largest samples that gradients are sent to at once
NOWHERE = -1.0  # mmcv's argmax of a bin without samples


def max_roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> None:
    """input (B, C, H, W), rois (K, 5) as (batch index, x1, y1, x2, y2) in image pixels -> output (K, C, h, w).

    `argmax_y` and `argmax_x` (K, C, h, w) get where in the map the first largest sample is. A bin without samples is 0, as with
    the mean; mmcv's kernels leave their starting value there, -10000 on the CPU.
    """
    name = 'roi_align_forward'
    check_rois(name, input, rois, 5)
    _, channels, height, width = input.shape
    size = (aligned_height, aligned_width)
    check_shape(name, 'output', output, len(rois), channels, *size)
    output.zero_()
    for argmax in (argmax_y, argmax_x):
        check_shape(name, 'argmax', argmax, *output.shape)
        argmax.fill_(NOWHERE)
    rows = as_rows(input)
    lowest = torch.finfo(rows.dtype).min
    rois = rois.detach().to(rows.dtype)
    left, top, widths, heights = box_edges(name, rois, spatial_scale, aligned)
    for grid in grids(name, heights, widths, size, sampling_ratio, most=max(1, VALUES // max(channels, 1))):
        samples = grid.height * grid.width
        if samples == 0 or rows.numel() == 0:
            continue
        some = grid.rois
        step_y, step_x = grid.steps(rows)
        y = _places(top[some], heights[some], aligned_height, step_y[:, 0])[:, :, None, :, None]
        x = _places(left[some], widths[some], aligned_width, step_x[0])[:, None, :, None, :]
        y, x = (at.flatten(3).flatten(0, 2) for at in torch.broadcast_tensors(y, x))  # (N * h * w, G)
        image = rois[some, 0].long().repeat_interleave(aligned_height * aligned_width)[:, None]
        near = corners(y, x, image, height, width)
        values = sums(rows, near.pixels.flatten(0, 1), near.weight.flatten(0, 1)).view(-1, samples, channels)
        best, at = values.masked_fill(~(values > lowest), lowest).max(dim=1)  # (N * h * w, C)
        found = best > lowest
        for into, result in (
            (output, best),
            (argmax_y, torch.where(found, y.gather(1, at), NOWHERE)),
            (argmax_x, torch.where(found, x.gather(1, at), NOWHERE)),
        ):
            into[some] = result.view(len(some), *size, channels).permute(0, 3, 1, 2).to(into.dtype)


def _places(start: Tensor, length: Tensor, bins: int, steps: Tensor) -> Tensor:
    """Samples along an axis of RoIs (N,), at `steps` + 0.5 of each bin's -> (N, bins, samples)."""
    side = (length / bins)[:, None, None]
    number = torch.arange(bins, device=start.device, dtype=start.dtype)
    return start[:, None, None] + number[:, None] * side + steps * side / len(steps)


def max_roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> None:
    """Add grad_output (K, C, h, w) to the four pixels of grad_input (B, C, H, W) around each argmax."""
    name = 'roi_align_backward'
    check_rois(name, grad_input, rois, 5)
    check_floats(name, grad_output=grad_output, grad_input=grad_input)
    channels, height, width = grad_input.shape[1:]
    check_shape(name, 'grad_output', grad_output, len(rois), channels, aligned_height, aligned_width)
    for argmax in (argmax_y, argmax_x):
        check_shape(name, 'argmax', argmax, *grad_output.shape)
    into = lift(grad_output).new_zeros(grad_input.numel())
    channel = torch.arange(channels, device=rois.device)[:, None, None]
    step = max(1, PLACES // max(1, channels * aligned_height * aligned_width))
    for start in range(0, len(rois) if len(into) else 0, step):
        part = slice(start, start + step)
        y, x, grad = (lift(tensor[part]).to(into.dtype) for tensor in (argmax_y, argmax_x, grad_output))
        plane = rois[part, 0].long()[:, None, None, None] * channels + channel  # as if each were a map of its own
        near = corners(y, x, plane, height, width)
        weight = torch.where((y != NOWHERE)[..., None], near.weight, 0)
        into.scatter_add_(0, near.pixels.flatten(), (weight * grad[..., None]).flatten())
    grad_input += into.view(grad_input.shape).to(grad_input.dtype)
