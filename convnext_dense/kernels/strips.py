"""Maps of all classes, a few rows at a time, because whole they would not fit: 150 classes of three megapixels are 1.9 GB.

A source of rows has `size` (H, W) and `rows(start, stop)`, (stop - start, W, C) in float32 or wider; asked for in rising order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from convnext_dense.kernels.upsampled_conv import shifted_upsampling

VALUES = 1_200_000  # of a strip: about 5 MB, which the cache holds


class Rows(Protocol):
    @property
    def size(self) -> tuple[int, int]: ...

    def rows(self, start: int, stop: int) -> Tensor: ...


def strips(size: tuple[int, int], channels: int) -> Iterator[tuple[int, int]]:
    """The rows of (H, W) in parts of about VALUES values."""
    step = max(VALUES // (size[1] * channels), 1)
    for start in range(0, size[0], step):
        yield start, min(start + step, size[0])


class WholeMap:
    """A map that is there, (C, H, W), as a source of rows."""

    def __init__(self, data: Tensor) -> None:
        dtype = torch.promote_types(data.dtype, torch.float32)
        self.data = data.permute(1, 2, 0).to(dtype).contiguous()
        self.size = self.data.shape[0], self.data.shape[1]

    def rows(self, start: int, stop: int) -> Tensor:
        return self.data[start:stop]


class RisingRows:
    """A source that sums up what overlaps, from the top down: `_more` adds to rows, and says which are finished by it.

    `kept` holds rows from `kept_from` on. Always kept_from <= finished <= kept_from + len(kept): rows before `finished` change
    no more, and those after it are sums to which `_more` will add.
    """

    def __init__(self, size: tuple[int, int], kept: Tensor) -> None:
        self.size, self.kept = size, kept
        self.kept_from = self.finished = 0

    def rows(self, start: int, stop: int) -> Tensor:
        if start < self.kept_from:
            raise ValueError(f'rows from {start}: expected rising order, rows before {self.kept_from} are gone')
        while True:
            gone = min(start, self.finished)  # what is to come adds to the rows after these
            self.kept, self.kept_from = self.kept[gone - self.kept_from :], gone
            if self.finished >= stop:
                return self.kept[start - self.kept_from : stop - self.kept_from]
            self._more()

    def _more(self) -> None:
        raise NotImplementedError

    def _lengthened(self, top: int, height: int) -> Tensor:
        """The rows from `top`, of which those that were not there yet are 0 now, to add to."""
        self.kept = self.kept.clone()  # whose rows above are let go before there are more
        longer = self.kept.new_empty(top + height - self.kept_from, *self.kept.shape[1:])
        longer[: len(self.kept)] = self.kept
        longer[len(self.kept) :] = 0
        self.kept = longer
        return self.kept[top - self.kept_from : top - self.kept_from + height]


@dataclass(frozen=True)
class Cropped:
    """A source without `top` and `left` rows and columns, and of `size`."""

    source: Rows
    size: tuple[int, int]
    top: int
    left: int

    def rows(self, start: int, stop: int) -> Tensor:
        return self.source.rows(start + self.top, stop + self.top)[:, self.left : self.left + self.size[1]]


@dataclass(frozen=True)
class Resized:
    """A source resized as F.interpolate does it, bilinear."""

    source: Rows
    size: tuple[int, int]
    align_corners: bool

    def rows(self, start: int, stop: int) -> Tensor:
        if self.source.size == self.size:
            return self.source.rows(start, stop)
        (height, width), (h, w) = self.size, self.source.size
        low, high = self.reach(start, stop)
        x = self.source.rows(low, high)
        channels = x.shape[2]
        if h != height:
            x = self._vertical(start, stop, low, high, x) @ x.flatten(1)
        x = x.view(1, stop - start, w, channels)
        if w != width:
            size = (stop - start, width)
            x = F.interpolate(x.permute(0, 3, 1, 2), size, mode='bilinear', align_corners=self.align_corners).permute(
                0, 2, 3, 1
            )
        return x[0]

    def grad_to(self, grad: Tensor, start: int, stop: int, total: Tensor) -> None:
        """Add to `total`, the gradient of the source (h, w, C), what comes from `grad` (rows, W, C) of rows start to stop."""
        h, w, channels = total.shape
        low, high = self.reach(start, stop)
        if w != self.size[1]:
            size = [stop - start, self.size[1]], [1, channels, stop - start, w]
            grad = torch.ops.aten.upsample_bilinear2d_backward(grad[None].permute(0, 3, 1, 2), *size, self.align_corners)
            grad = grad.permute(0, 2, 3, 1)[0]
        if h != self.size[0]:
            grad = self._vertical(start, stop, low, high, grad).t() @ grad.flatten(1)
        total[low:high] += grad.view(high - low, w, channels)

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        """The source's rows that rows start to stop are made of."""
        height, h = self.size[0], self.source.size[0]
        if h == height:
            return start, stop
        used = self._weights(torch.float32, torch.device('cpu'))[[start, stop - 1]] != 0
        return int(used[0].int().argmax()), h - int(used[1].flip(0).int().argmax())

    def _weights(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        return shifted_upsampling(self.size[0], self.source.size[0], self.align_corners, dtype, device)[1]

    def _vertical(self, start: int, stop: int, low: int, high: int, like: Tensor) -> Tensor:
        return self._weights(like.dtype, like.device)[start:stop, low:high]
