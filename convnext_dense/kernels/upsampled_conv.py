"""A 3x3 convolution over upsampled, concatenated maps, computed at each map's own resolution: exact, with fewer products.

The convolution is linear in each input map, and bilinear upsampling is a matrix for each axis. So the nine 1x1 products of a
map can be taken before it is upsampled; then each is upsampled and shifted by its tap, which is one matrix for each axis again.
Rows of the shifted matrices that would read beyond the border are zero, as zero padding is; any two sizes will do.

Legend: B images, C channels in, O out, H W the output's height and width, h w a map's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from convnext_dense.kernels.onednn import linear

TAPS = 3
BUFFER = 4_300_000  # values of maps that are upsampled along the width alone: 17 MB in float32


def fewer_multiplications(size: Sequence[int], own: Sequence[int], channels: int) -> bool:
    """Whether nine products at a map's own (h, w), and the two matrices for them, are fewer than nine at (H, W)."""
    (height, width), (h, w) = size, own
    resampling = TAPS * w * width * TAPS * h + TAPS * h * height * width  # multiply-adds an output channel
    ours, whole = TAPS**2 * channels * h * w + resampling, TAPS**2 * channels * height * width
    return ours < 0.75 * whole  # the small matrices run at less than the speed of large ones


def conv_of_upsampled(base: Tensor, maps: Sequence[Tensor], weights: Sequence[Tensor], align_corners: bool) -> Tensor:
    """base + sum over the maps of conv2d(upsampled map, weight, padding=1).

    Args:
        base: (B, O, H, W); may be overwritten. One that is not channels last is copied first.
        maps: (B, C, h, w) each, of their own sizes.
        weights: (O, C, 3, 3) each.
        align_corners: as F.interpolate's, mode bilinear.
    """
    if not maps:
        return base
    base = base.contiguous(memory_format=torch.channels_last)
    return _ConvOfUpsampled.apply(base, align_corners, *maps, *weights)


class _ConvOfUpsampled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, base: Tensor, align_corners: bool, *tensors: Tensor) -> Tensor:
        maps, weights = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
        ctx.save_for_backward(*tensors)
        ctx.align_corners = align_corners
        ctx.mark_dirty(base)
        out = base.permute(0, 2, 3, 1)  # (B, H, W, O), contiguous
        plans = [_plan(out, m, align_corners) for m in maps]
        # One product along the height for all kernel rows of all maps, or for as many as the buffer holds.
        rows = [(i, ky) for i in range(len(maps)) for ky in range(TAPS)]
        values = [maps[i].shape[2] * out.shape[2] * out.shape[3] for i, _ in rows]
        for group in _groups(rows, values):
            matrix = torch.cat([plans[i][0][ky] for i, ky in group], dim=1)  # (H, sum of h)
            high = out.new_empty(matrix.shape[1], *out.shape[2:])  # (sum of h, W, O)
            for image in range(len(base)):
                end = 0
                for i, ky in group:
                    pixels = maps[i][image].permute(1, 2, 0)
                    start, end = end, end + len(pixels)
                    _widen(pixels, _taps(weights[i][:, :, ky]), plans[i][1], high[start:end])
                out[image].flatten(1).addmm_(matrix, high.flatten(1))
        return base

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        maps, weights = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
        grad_out = grad.permute(0, 2, 3, 1).contiguous()
        plans = [_plan(grad_out, m, ctx.align_corners) for m in maps]
        wide = torch.promote_types(grad.dtype, torch.float32)
        grad_maps = [torch.zeros_like(m, memory_format=torch.channels_last, dtype=wide) for m in maps]
        grad_taps = [torch.zeros(TAPS, TAPS, *w.shape[:2], dtype=wide, device=w.device) for w in weights]
        for i, (vertical, horizontal) in enumerate(plans):
            h, w = maps[i].shape[-2:]
            for ky in range(TAPS):
                taps = _taps(weights[i][:, :, ky])
                for image in range(len(grad)):
                    pixels = maps[i][image].permute(1, 2, 0).reshape(h * w, -1)
                    into = grad_maps[i][image].permute(1, 2, 0).view(h * w, -1)
                    high = (vertical[ky].t() @ grad_out[image].flatten(1)).view(h, *grad_out.shape[2:])  # (h, W, O)
                    for kx in range(TAPS):
                        product = torch.matmul(horizontal[kx].t(), high).view(h * w, -1)
                        into += linear(product, taps[kx].t())
                        grad_taps[i][ky, kx] += product.t() @ pixels
        grads = [g.to(m.dtype) for g, m in zip(grad_maps, maps)]
        grads += [g.permute(2, 3, 0, 1).to(w.dtype) for g, w in zip(grad_taps, weights)]
        return grad, None, *grads


def _taps(row: Tensor) -> Tensor:
    """A kernel's row, (O, C, 3) -> (3, O, C)."""
    return row.permute(2, 0, 1).contiguous()


def _widen(pixels: Tensor, taps: Tensor, horizontal: Tensor, out: Tensor) -> None:
    """out (h, W, O) = sum over a kernel row of (O, C) taps of pixels (h, w, C) by the tap, upsampled along the width."""
    h, w, c = pixels.shape
    flat = pixels.reshape(h * w, c)
    for kx in range(TAPS):
        product, matrix = linear(flat, taps[kx]).view(h, w, -1), horizontal[kx].expand(h, -1, -1)
        if kx == 0:
            torch.bmm(matrix, product, out=out)
        else:
            out.baddbmm_(matrix, product)


def _plan(out: Tensor, own: Tensor, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Vertical matrices (3, H, h) and horizontal ones (3, W, w), of the type of `own`."""
    sides = zip(out.shape[1:3], own.shape[-2:])
    vertical, horizontal = (shifted_upsampling(side, small, align_corners, own.dtype, own.device) for side, small in sides)
    return vertical, horizontal


def _groups(rows: list[tuple[int, int]], values: list[int]) -> Iterator[list[tuple[int, int]]]:
    """Kernel rows in groups of no more than BUFFER values, or of one."""
    group: list[tuple[int, int]] = []
    held = 0
    for row, size in zip(rows, values):
        if group and held + size > BUFFER:
            yield group
            group, held = [], 0
        group.append(row)
        held += size
    yield group


@lru_cache(maxsize=128)
def shifted_upsampling(out: int, own: int, align_corners: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Bilinear upsampling of an axis from `own` to `out` places, read a place before, at and after: (3, out, own)."""
    wide = torch.promote_types(dtype, torch.float32)  # as F.interpolate computes its weights
    with torch.inference_mode(False):  # a cached tensor of inference mode would be refused in training
        axis = torch.eye(own, dtype=wide, device='cpu')[None]
        matrix = F.interpolate(axis, size=out, mode='linear', align_corners=align_corners)[0].t() if out != own else axis[0]
        padded = F.pad(matrix, (0, 0, 1, 1))
        return torch.stack([padded[tap : tap + out] for tap in range(TAPS)]).to(dtype=dtype, device=device)
