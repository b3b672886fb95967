"""`kernels.upsampled_conv` as a graph of convolutions and matrix products, for maps whose sizes are not known.

A 3x3 convolution over maps that were upsampled and concatenated, taken at each map's own resolution: nine 1x1 products of a
map, then one matrix for each axis that upsamples and shifts at once (see `kernels.upsampled_conv` for the algebra).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from convnext_dense.export.resampling import upsampling
from convnext_dense.kernels.upsampled_conv import TAPS


def conv_of_upsampled(base: Tensor, maps: Sequence[Tensor], weights: Sequence[Tensor], align_corners: bool) -> Tensor:
    """base + sum over the maps of conv2d(upsampled map, weight, padding=1).

    Args:
        base: (B, O, H, W).
        maps: (B, C, h, w) each, of their own sizes.
        weights: (O, C, 3, 3) each.
        align_corners: as F.interpolate's, mode bilinear.
    """
    height, width = base.shape[2:]
    rows, matrices = [], []
    for x, weight in zip(maps, weights):
        rows.append(_widened(x, weight, width, align_corners))
        matrices.append(_shifted(height, x.shape[2], align_corners, base))
    return base + torch.cat(matrices, dim=1) @ torch.cat(rows, dim=2)


def _widened(x: Tensor, weight: Tensor, width: int, align_corners: bool) -> Tensor:
    """(B, O, 3 h, width): products with each kernel row, upsampled and shifted along the width."""
    out, channels = weight.shape[:2]
    taps = weight.permute(2, 3, 0, 1).reshape(TAPS * TAPS * out, channels, 1, 1)
    products = F.conv2d(x, taps)  # (B, 9 O, h, w)
    h, w = x.shape[2:]
    products = products.view(-1, TAPS, TAPS, out, h, w).permute(0, 3, 1, 4, 2, 5)  # (B, O, ky, h, kx, w)
    horizontal = _shifted(width, w, align_corners, x)  # (width, 3 w)
    return products.reshape(-1, out, TAPS * h, TAPS * w) @ horizontal.t()


def _shifted(out: int, own: int, align_corners: bool, like: Tensor) -> Tensor:
    """(out, 3 own): an axis upsampled, read a place before, at and after; zero beyond the border."""
    matrix = F.pad(upsampling(out, own, align_corners, like), (0, 0, 1, 1))
    return torch.cat([matrix[tap : tap + out] for tap in range(TAPS)], dim=1)
