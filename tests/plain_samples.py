"""One sample of a map at a time, as mmcv's kernels define it, and RoIs of every kind, for the tests of its RoI operators."""

from __future__ import annotations

import torch
from torch import Tensor


def sample(x: Tensor, py: float, px: float) -> Tensor:
    """x (C, H, W) at (py, px) -> (C,), pixel centres at integers; 0 more than a pixel outside, else the nearest edge's."""
    height, width = x.shape[1:]
    if not (-1 <= py <= height and -1 <= px <= width):
        return x.new_zeros(x.shape[0])
    py, px = min(max(py, 0), height - 1), min(max(px, 0), width - 1)
    y0, x0 = int(py), int(px)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    fy, fx = py - y0, px - x0
    top = x[:, y0, x0] * (1 - fx) + x[:, y0, x1] * fx
    low = x[:, y1, x0] * (1 - fx) + x[:, y1, x1] * fx
    return top * (1 - fy) + low * fy


# Within the map, over its edges, wholly outside, an odd sliver, no area; two images.
ROIS = torch.tensor(
    [
        [0.0, 2, 3, 20, 17],
        [1, -4.5, -3, 34.2, 31],
        [0, 8.3, 4.1, 9.9, 30.2],
        [1, 60, 60, 80, 70],
        [0, 5, 5, 5, 5],
        [1, 3.7, 2.2, 11.1, 6.4],
    ],
    dtype=torch.float64,
)


def maps(channels: int = 3, height: int = 13, width: int = 16, seed: int = 0) -> Tensor:
    """Two images of random numbers in float64, channels last."""
    x = torch.randn(2, channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)
