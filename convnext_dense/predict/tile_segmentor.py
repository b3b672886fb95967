"""A segmentor on a picture of any size, in tiles with blended borders.

The tiles' maps of logits are blended at the head's own resolution, a row of tiles at a time, and brought to full size a few
rows at a time: neither the picture nor its logits are ever in memory whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from numpy.typing import NDArray
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.kernels.strips import VALUES, RisingRows
from convnext_dense.predict.result import index_type
from convnext_dense.predict.tiles import Tiling, weights
from convnext_dense.predict.windows import Windowed

Logits = Callable[[Sequence[NDArray[np.uint8]], tuple[int, int]], Tensor]


def logits_of(model: nn.Module) -> Logits:
    """What makes logits (B, C, h, w), as the head gives them, of windows (H, W, 3) in BGR, padded to a size.

    Raises:
        InputError: for a segmentor that is no EncoderDecoder of one head.
    """
    if not isinstance(model, EncoderDecoder) or isinstance(model, CascadeEncoderDecoder):
        raise InputError(f'--tile: expected a segmentor of type EncoderDecoder, got {type(model).__name__}; leave --tile out')
    if model.out_channels == 1 or model.align_corners:
        raise InputError('--tile: expected a head of two channels or more, without align_corners; leave --tile out')

    def logits(windows: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> Tensor:
        padded = []
        for window in windows:
            image = torch.from_numpy(np.ascontiguousarray(window)).permute(2, 0, 1)
            normal = model.data_preprocessor(dict(inputs=[image], data_samples=None), False)['inputs']
            height, width = normal.shape[2:]
            padded.append(F.pad(normal, (0, size[1] - width, 0, size[0] - height)))  # by the mean, which is 0 now
        return model.decode_head(model.extract_feat(torch.cat(padded)))

    return logits


class TileMap(RisingRows):
    """The blended logits of a picture at the head's resolution, a row of tiles at a time."""

    def __init__(self, logits: Logits, picture: Windowed, tiling: Tiling, batch: int = 1) -> None:
        self.logits, self.picture, self.batch = logits, picture, batch
        height, width = picture.size
        self.tile = tiling.length(height), tiling.length(width)
        self.tops, self.lefts = tiling.starts(height), tiling.starts(width)
        self.first: Tensor | None = self._row(0, self.lefts[: self.batch])
        first = self.first
        self.ratio = self.tile[0] // first.shape[2]
        if (first.shape[2] * self.ratio, first.shape[3] * self.ratio) != self.tile or self.tops[-1] % self.ratio:
            raise InputError(
                f'--tile: expected logits of a whole stride, got {tuple(first.shape[2:])} for a tile of {self.tile}'
            )
        h, w = (side // self.ratio for side in self.tile)
        self.down = [torch.from_numpy(x) for x in weights([top // self.ratio for top in self.tops], h)]
        self.across = [torch.from_numpy(x) for x in weights([left // self.ratio for left in self.lefts], w)]
        size = self.tops[-1] // self.ratio + h, self.lefts[-1] // self.ratio + w
        super().__init__(size, torch.zeros(0, size[1], first.shape[1]))
        self.next_row = 0  # of tiles, an index of `tops`

    def _row(self, top: int, lefts: Sequence[int]) -> Tensor:
        """The logits of tiles beside each other."""
        height, width = self.picture.size
        tall, wide = min(self.tile[0], height - top), (min(self.tile[1], width - left) for left in lefts)
        return self.logits([self.picture.read(top, left, tall, w) for left, w in zip(lefts, wide)], self.tile)

    def _more(self) -> None:
        """A row of tiles."""
        height, width = (side // self.ratio for side in self.tile)
        into = self._lengthened(self.tops[self.next_row] // self.ratio, height)
        for i in range(0, len(self.lefts), self.batch):
            lefts = self.lefts[i : i + self.batch]
            found = self.first if self.first is not None else self._row(self.tops[self.next_row], lefts)
            self.first = None  # it was computed for its size
            for left, across, one in zip(lefts, self.across[i:], found):
                at = left // self.ratio
                weight = self.down[self.next_row][:, None, None] * across[:, None]
                into[:, at : at + width] += one.permute(1, 2, 0).float().cpu() * weight
        self.next_row += 1
        self.finished = self.tops[self.next_row] // self.ratio if self.next_row < len(self.tops) else self.size[0]


def classes_by_rows(source: TileMap, size: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """The class of the highest logit at each pixel of (H, W), some rows (h, W) at a time, from the top down."""
    channels = source.kept.shape[2]
    dtype = index_type(channels)
    step = max(VALUES // (size[1] * channels), 1)
    for start in range(0, size[0], step):
        rows = upsampled_rows(source, start, min(start + step, size[0]))
        yield rows.argmax(1)[:, : size[1]].numpy().astype(dtype)


def upsampled_rows(source: TileMap, start: int, stop: int) -> Tensor:
    """Rows of the full size as F.interpolate makes them, bilinear: (rows, C, W)."""
    height = source.size[0]
    at = ((torch.arange(start, stop) + 0.5) / source.ratio - 0.5).clamp(min=0)
    low = at.floor().long()
    high = (low + 1).clamp(max=height - 1)
    first, last = int(low[0]), int(high[-1])
    band = source.rows(first, last + 1)
    share = (at - low)[:, None, None]
    rows = (band[low - first] * (1 - share) + band[high - first] * share).permute(0, 2, 1)
    if source.ratio == 1:
        return rows
    return F.interpolate(rows, source.size[1] * source.ratio, mode='linear', align_corners=False)
