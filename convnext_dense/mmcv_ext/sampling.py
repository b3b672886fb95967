"""Bilinear samples of RoIs: which pixels of a map they are made of, and the weighted sums of those pixels.

Legend: B images, C channels, H W map, K RoIs, N RoIs that are worked on at once, G samples of a bin, P B * H * W pixels.

A map is taken as rows (P, C), one a pixel. A sample is a sum of four of them, a bin of 4 * G, which is what an embedding bag
does, forward and backward, without the products of rows and weights in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import lift

SAMPLES = 1 << 18  # that are worked on at once: 4 pixels and weights each, 12 MB
MOST = 1 << 27  # samples of one RoI; a box of so many pixels is a mistake


class Grid(NamedTuple):
    """RoIs whose bins have equally many samples."""

    rois: Tensor  # (N,) their indices
    height: int
    width: int

    def steps(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Where in a bin the samples are, as fractions of its height (height, 1) and width (1, width)."""
        y, x = ((torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) for size in (self.height, self.width))
        return y[:, None], x[None, :]


def as_rows(input: Tensor) -> Tensor:
    """input (B, C, H, W) -> (P, C), in float32 where it is of a reduced precision."""
    return lift(input.detach()).permute(0, 2, 3, 1).flatten(0, 2)


def box_edges(operator: str, rois: Tensor, scale: float, aligned: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """RoIs (K, 5) of images of `scale` -> left, top, width and height of each in pixels of the map, (K,).

    Raises:
        InputError: for one whose corners are the wrong way round, which only an aligned one shows.
    """
    left, top, right, low = (rois[:, 1:] * scale - (0.5 if aligned else 0.0)).unbind(1)
    widths, heights = right - left, low - top
    if not aligned:
        return left, top, widths.clamp(min=1), heights.clamp(min=1)
    if (widths < 0).any() or (heights < 0).any():
        raise InputError(f'{operator}: expected RoIs (batch index, x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, got one without')
    return left, top, widths, heights


def sample_sides(operator: str, heights: Tensor, widths: Tensor, size: tuple[int, int], ratio: int) -> Tensor:
    """RoIs (K,) of these heights and widths in pixels of the map, whose `size` bins have `ratio` samples a side; with 0, one
    for each pixel -> samples down and across a bin, (K, 2) whole floats.

    Raises:
        InputError: for a RoI of more than MOST samples.
    """
    sides = torch.stack([heights / size[0], widths / size[1]], dim=1).float().ceil().clamp(min=0).double()
    finite = sides.isfinite().all(dim=1)
    if ratio > 0:
        sides = torch.full_like(sides, ratio)
    if not ((size[0] * size[1] * sides.prod(dim=1) <= MOST) & finite).all():
        raise InputError(
            f'{operator}: expected RoIs of at most {MOST} samples, got one of more; set sampling_ratio or clip them'
        )
    return sides


def grids(
    operator: str, heights: Tensor, widths: Tensor, size: tuple[int, int], ratio: int, most: int | None = None
) -> Iterator[Grid]:
    """The RoIs of `sample_sides`, at most about `most` samples at once, SAMPLES where it is not given."""
    sides = sample_sides(operator, heights, widths, size, ratio)
    bins = size[0] * size[1]
    kinds, kind = sides.long().unique(dim=0, return_inverse=True)
    for number, (height, width) in enumerate(kinds.tolist()):
        step = max(1, (most or SAMPLES) // max(1, bins * height * width))
        for rois in (kind == number).nonzero()[:, 0].split(step):
            yield Grid(rois, height, width)


class Corners(NamedTuple):
    """The four pixels around each sample; one more than a pixel outside the map has weight 0, one that is nowhere NaN."""

    pixels: Tensor  # (..., 4) rows of the map: above left, above right, below left, below right
    weight: Tensor  # (..., 4)
    y: tuple[Tensor, Tensor]  # (...) rows above and below
    x: tuple[Tensor, Tensor]  # (...) columns left and right
    within: Tensor  # (...) bool


def corners(y: Tensor, x: Tensor, image: Tensor, height: int, width: int) -> Corners:
    """Samples at (y, x) (...), pixel centres at integers, of images (...) of maps (height, width)."""
    nowhere = ~(y.isfinite() & x.isfinite())
    within = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = torch.where(within, y, 0).clamp(min=0), torch.where(within, x, 0).clamp(min=0)
    top, left = y.long().clamp(max=height - 1), x.long().clamp(max=width - 1)
    low, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    # Beyond the centre of the last row or column the sample is that row's.
    down, across = torch.where(low > top, y - top, 0), torch.where(right > left, x - left, 0)
    up, back = 1 - down, 1 - across
    weight = torch.stack([up * back, up * across, down * back, down * across], dim=-1) * within[..., None]
    weight = weight.masked_fill(nowhere[..., None], torch.nan)  # as in mmcv's kernel, so that a loss shows it
    first = image * height
    above, below = (first + top) * width, (first + low) * width
    index = torch.stack([above + left, above + right, below + left, below + right], dim=-1)
    return Corners(index, weight, (top, low), (left, right), within)


def sums(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """rows (P, C), index and weight (bags, entries) -> weighted sums (bags, C)."""
    if 0 in index.shape or not rows.numel():
        return rows.new_zeros(len(index), rows.shape[1])
    return F.embedding_bag(index, rows, mode='sum', per_sample_weights=weight.to(rows.dtype))


def add_gradient(into: Tensor, grad: Tensor, index: Tensor, weight: Tensor) -> None:
    """Add to `into` (P, C) the gradient of `sums` by its rows, for grad (bags, C)."""
    if 0 in index.shape or not into.numel():
        return
    step = max(1, 4 * SAMPLES // max(1, index.shape[1] * into.shape[1]))
    for start in range(0, len(index), step):
        part = slice(start, start + step)
        values = weight[part, :, None].to(grad.dtype) * grad[part, None, :]
        into.index_add_(0, index[part].flatten(), values.flatten(0, 1))
