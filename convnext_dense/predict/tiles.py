"""Where tiles lie on a picture, and how much each counts where they overlap."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.errors import InputError
from convnext_dense.expect import brief, number, whole

STRIDE = 32  # of the backbone's last map: tiles begin and end on its grid, so that their maps fit together
OVERLAP = 0.25
LEAST = 64  # pixels of a tile


class View(NamedTuple):
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Tiling(NamedTuple):
    """Square tiles of `side` pixels, each of which shares at least `overlap` of its side with the next."""

    side: int
    overlap: float = OVERLAP

    def starts(self, length: int) -> list[int]:
        """Where tiles begin along an axis, all on the grid of STRIDE; the last one reaches the end, or a little beyond."""
        side = round_up(self.side)
        end = round_up(length)
        step = max(side - round_up(int(side * self.overlap)), STRIDE)
        inner = list(range(0, max(end - side, 0), step))
        return [*inner, max(end - side, 0)]

    def length(self, length: int) -> int:
        """A tile's side on an axis of `length` pixels."""
        return min(round_up(self.side), round_up(length))

    def views(self, size: tuple[int, int]) -> list[View]:
        """The tiles of a picture (H, W), row by row, cut off at its end."""
        height, width = size
        tall, wide = self.length(height), self.length(width)
        return [
            View(top, left, min(tall, height - top), min(wide, width - left))
            for top in self.starts(height)
            for left in self.starts(width)
        ]


def checked_tiling(side: Any, overlap: Any) -> Tiling:
    """The tiling that a user asked for.

    Raises:
        InputError: for tiles that are too small, and overlaps that leave no step.
    """
    if not whole(side, LEAST):
        raise InputError(f'--tile: expected a whole number of pixels from {LEAST} up, got {brief(side)}')
    if not number(overlap, 0) or not overlap <= 0.9:
        raise InputError(f'--overlap: expected a share of the tile from 0 to 0.9, got {brief(overlap)}')
    return Tiling(side, overlap)


def round_up(length: int) -> int:
    """To the grid of STRIDE."""
    return -(-length // STRIDE) * STRIDE


def weights(starts: list[int], length: int) -> list[NDArray[np.float32]]:
    """What each tile of `length` counts at each of its places; all tiles together count 1 everywhere.

    Where two overlap, one fades linearly into the other.
    """
    total = np.zeros(starts[-1] + length)
    found = []
    for i, start in enumerate(starts):
        ramp = np.ones(length)
        before = starts[i - 1] + length - start if i else 0
        after = start + length - starts[i + 1] if i + 1 < len(starts) else 0
        if before > 0:
            ramp[:before] = np.minimum(ramp[:before], (np.arange(before) + 0.5) / before)
        if after > 0:
            ramp[length - after :] = np.minimum(ramp[length - after :], (np.arange(after)[::-1] + 0.5) / after)
        total[start : start + length] += ramp
        found.append(ramp)
    return [(ramp / total[start : start + length]).astype(np.float32) for ramp, start in zip(found, starts)]
