"""Masks kept where they are: the part of a picture that an object covers, and its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths


class Patch(NamedTuple):
    """A mask (h, w) and its place in the picture."""

    top: int
    left: int
    mask: NDArray[np.bool_]

    @property
    def area(self) -> int:
        return int(self.mask.sum())

    def within(self, top: int, left: int, bottom: int, right: int) -> Patch:
        """What of it lies in a window."""
        height, width = self.mask.shape
        y, x = max(top, self.top), max(left, self.left)
        y2, x2 = max(min(bottom, self.top + height), y), max(min(right, self.left + width), x)
        return Patch(y, x, self.mask[y - self.top : y2 - self.top, x - self.left : x2 - self.left])

    def on(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """The whole mask (H, W)."""
        out = np.zeros(size, bool)
        inside = self.within(0, 0, *size)
        out[inside.top : inside.top + inside.mask.shape[0], inside.left : inside.left + inside.mask.shape[1]] = inside.mask
        return out

    def run_length(self, size: tuple[int, int]) -> dict[str, Any]:
        """COCO's run lengths of the whole mask (H, W), which is not made."""
        if self.mask.shape == size:
            return run_lengths.encode(np.asfortranarray(self.mask, dtype=np.uint8))
        inside = self.within(0, 0, *size)
        (height, width), (h, w) = size, inside.mask.shape
        columns = np.zeros((height, w), np.uint8, order='F')
        columns[inside.top : inside.top + h] = inside.mask
        values = np.concatenate([[0], columns.ravel(order='F'), [0]])
        edges = np.flatnonzero(np.diff(values)) + inside.left * height  # where runs begin and end
        counts = np.diff(np.concatenate([[0], edges[edges < height * width], [height * width]])).tolist()
        return run_lengths.frPyObjects(dict(size=[height, width], counts=counts), height, width)


def patch_of(mask: NDArray[np.bool_]) -> Patch:
    """A mask (H, W) without the rows and columns that are empty around it."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return Patch(0, 0, np.zeros((0, 0), bool))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return Patch(int(top), int(left), np.ascontiguousarray(mask[top:bottom, left:right]))


def shared(one: Patch, other: Patch) -> int:
    """Pixels that two masks have in common."""
    height, width = one.mask.shape
    theirs = other.within(one.top, one.left, one.top + height, one.left + width)
    h, w = theirs.mask.shape
    ours = one.within(theirs.top, theirs.left, theirs.top + h, theirs.left + w)
    return int((ours.mask & theirs.mask).sum()) if ours.mask.shape == theirs.mask.shape else 0


def union(patches: Sequence[Patch]) -> Patch:
    """Masks put together."""
    if len(patches) == 1:
        return patches[0]
    top, left = min(p.top for p in patches), min(p.left for p in patches)
    bottom, right = (max(getattr(p, edge) + p.mask.shape[axis] for p in patches) for axis, edge in enumerate(('top', 'left')))
    out = np.zeros((bottom - top, right - left), bool)
    for patch in patches:
        y, x = patch.top - top, patch.left - left
        out[y : y + patch.mask.shape[0], x : x + patch.mask.shape[1]] |= patch.mask
    return Patch(top, left, out)
