"""RoIAlign (arXiv 1703.06870) by torchvision's kernel, on all cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
import torchvision
from torch import Tensor

from convnext_dense.mmcv_ext.operands import check_rois, lift_for_torchvision
from convnext_dense.mmcv_ext.roi_align_max import max_roi_align_backward, max_roi_align_forward
from convnext_dense.mmcv_ext.sampling import box_edges, sample_sides

PART_ROIS = 32  # RoIs that are worth a thread of their own


def _channels_first(x: Tensor, pixels: int = 512) -> Tensor:
    """x (B, C, H, W) contiguous, as torchvision's kernel would make it; on the CPU by parts, several times as fast."""
    if x.is_cuda or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return x
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    for source, target in zip(x.permute(0, 2, 3, 1).flatten(1, 2), out.flatten(2)):
        for start in range(0, len(source), pixels):
            target[:, start : start + pixels].copy_(source[start : start + pixels].t())
    return out


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """input (B, C, H, W), rois (K, 5) as (batch index, x1, y1, x2, y2) in image pixels -> output (K, C, h, w).

    The output of a RoI that is not finite is NaN: torchvision's kernel reads beyond the map there. A model that diverges makes
    such RoIs, and its loss is then what says so.

    Raises:
        InputError: for operands of other shapes, dtypes and devices, for a batch index that is not there, and on the CPU for a
            RoI that is far too large or, `aligned`, the wrong way round.
    """
    if pool_mode == 0:
        max_roi_align_forward(
            input, rois, output, argmax_y, argmax_x, aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned
        )
        return
    name, size = 'roi_align_forward', (aligned_height, aligned_width)
    check_rois(name, input, rois, 5, finite=False)
    x = _channels_first(lift_for_torchvision(input.detach()))
    arguments = size, spatial_scale, sampling_ratio, aligned

    def part(rois: Tensor) -> Tensor:
        return torchvision.ops.roi_align(x, rois, *arguments)

    rois, bad = _finite(rois.detach().to(x.dtype), spatial_scale)
    if not x.is_cuda:  # whose kernel keeps no table of samples; mmcv's refuses nothing there either
        _, _, widths, heights = box_edges(name, rois, spatial_scale, aligned)
        sample_sides(name, heights, widths, size, sampling_ratio)
    threads = 1 if x.is_cuda else torch.get_num_threads()
    if not x.numel():
        output.zero_()  # torchvision's kernel reads pixels of a map that has none
    elif threads == 1 or len(rois) < PART_ROIS * threads:
        output.copy_(part(rois))
    else:
        with ThreadPoolExecutor(threads) as pool:  # torchvision's kernel keeps to one core
            torch.cat(list(pool.map(part, rois.chunk(threads))), out=output)
    output.masked_fill_(bad[:, None, None, None], torch.nan)


def _finite(rois: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """RoIs (K, 5) with those that are not finite at the first image's corner, and which these are, (K,).

    One whose width or height is beyond the dtype's numbers is among them.
    """
    edges = rois[:, 1:] * scale
    bad = ~(rois[:, 0].isfinite() & edges.isfinite().all(dim=1) & (edges[:, 2:] - edges[:, :2]).isfinite().all(dim=1))
    return rois.masked_fill(bad[:, None], 0), bad


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of the map to grad_input (B, C, H, W); RoIs that are not finite give none."""
    if pool_mode == 0:
        max_roi_align_backward(
            grad_output, rois, argmax_y, argmax_x, grad_input, aligned_height, aligned_width, spatial_scale, sampling_ratio,
            aligned,
        )  # fmt: skip
        return
    if not grad_input.numel():
        return
    grad = lift_for_torchvision(grad_output)
    rois, bad = _finite(rois.to(grad.dtype), spatial_scale)
    grad = grad.masked_fill(bad[:, None, None, None], 0)
    size = (aligned_height, aligned_width)
    roi_backward = torch.ops.torchvision._roi_align_backward
    grad_input += roi_backward(grad, rois, spatial_scale, *size, *grad_input.shape, sampling_ratio, aligned)
