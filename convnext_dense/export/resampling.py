"""Pooling and upsampling of maps of any size as matrix products, for graphs whose sizes are not known when they are written.

The exporter bakes sizes into `adaptive_avg_pool2d`. Averages and bilinear weights are a matrix for each axis, which a graph
computes from the sizes that it is given.
"""

from __future__ import annotations

import torch
from mmseg.models.utils.wrappers import Upsample
from torch import Tensor, nn


def averages(size: int, parts: int, like: Tensor) -> Tensor:
    """(parts, size): the mean of each of `parts` overlapping ranges of an axis, as adaptive_avg_pool2d divides it."""
    part = torch.arange(parts, device=like.device)[:, None]
    place = torch.arange(size, device=like.device)[None]
    start, end = part * size // parts, ((part + 1) * size + parts - 1) // parts
    inside = (place >= start) & (place < end)
    return inside.to(like.dtype) / (end - start).to(like.dtype)


class AveragePool(nn.Module):
    """nn.AdaptiveAvgPool2d to (rows, columns), within rounding."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, rows, columns)."""
        return averages(x.shape[2], self.rows, x) @ x @ averages(x.shape[3], self.columns, x).t()


def upsampling(out: int, own: int, align_corners: bool, like: Tensor) -> Tensor:
    """(out, own): bilinear weights of an axis, as F.interpolate takes them."""
    place = torch.arange(out, device=like.device, dtype=like.dtype)
    source: Tensor
    if align_corners:
        last = (out - 1).clamp(min=1) if isinstance(out, Tensor) else torch.sym_max(out - 1, 1)  # a tensor in tracing
        source = place * ((own - 1) / last)  # type: ignore[assignment]
    else:
        source = ((place + 0.5) * (own / out) - 0.5).clamp(min=0)
    low = source.floor().clamp(max=own - 1)
    share = (source - low)[:, None]
    column = torch.arange(own, device=like.device, dtype=like.dtype)[None]
    first, second = (column == low[:, None]).to(like.dtype), (column == (low[:, None] + 1).clamp(max=own - 1)).to(like.dtype)
    return first * (1 - share) + second * share


def replace_baked(module: nn.Module) -> None:
    """Layers that take any size in the place of those into which exporters bake one: adaptive pools and mmseg's Upsample."""
    for name, child in module.named_children():
        if isinstance(child, nn.AdaptiveAvgPool2d):
            sides = child.output_size if isinstance(child.output_size, (tuple, list)) else (child.output_size,) * 2
            rows, columns = sides
            if rows is not None and columns is not None:
                setattr(module, name, AveragePool(rows, columns))
        elif isinstance(child, Upsample) and not child.size:
            factor, mode = child.scale_factor, child.mode
            setattr(module, name, nn.Upsample(scale_factor=factor, mode=mode, align_corners=child.align_corners))
        else:
            replace_baked(child)
