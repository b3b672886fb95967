"""Masks pasted into pictures as products of matrices: mmdet's grid_sample, whose weights are a matrix for each axis."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pasted(masks: Tensor, boxes: Tensor, size: tuple[Any, Any]) -> Tensor:
    """Probabilities (B, N, h, w) in boxes (B, N, 4) -> (B, N, H, W), 0 outside the boxes; `size` is (H, W).

    As mmdet's _do_paste_mask: bilinear between the centres of the mask's cells, with zeros around them.
    """
    rows = hat(boxes[..., 1], boxes[..., 3], size[0], masks.shape[2])
    columns = hat(boxes[..., 0], boxes[..., 2], size[1], masks.shape[3])
    return rows @ masks @ columns.transpose(2, 3)


def hat(start: Tensor, end: Tensor, pixels: Any, cells: int) -> Tensor:
    """The weight of each cell of a range in each pixel: start, end (B, N) -> (B, N, pixels, cells)."""
    centre = torch.arange(pixels, device=start.device, dtype=torch.float32) + 0.5
    side = (end - start)[..., None]
    # A box without area has no place within: its middle stands for it, where mmdet puts infinity.
    place = torch.where(side > 0, (centre - start[..., None]) / torch.where(side > 0, side, 1.0), 0.5) * cells - 0.5
    cell = torch.arange(cells, device=start.device, dtype=torch.float32)
    return (1.0 - (place[..., None] - cell).abs()).clamp(min=0.0)
