"""A class for each pixel: from a file of any values or colours, or drawn from outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.layouts.found import Found, Picture, Size
from convnext_dense.data.layouts.index import area, drawn
from convnext_dense.data.layouts.mask_files import packed, read_mask
from convnext_dense.errors import InputError


class Lookup:
    """Mask files to classes, by pairs of a value, or a packed colour, and its class."""

    def __init__(self, values: Iterable[Sequence[int]], colours: bool) -> None:
        ordered = sorted((int(value), int(index)) for value, index in values)
        self.numbers = np.array([value for value, _ in ordered], np.int64)
        self.classes = np.array([index for _, index in ordered], np.uint8)
        self.colours = colours

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """(H, W) classes.

        Raises:
            InputError: for a value that no class has.
        """
        values = read_mask(path)
        if (values.ndim == 3) != self.colours:
            raise InputError(f'data: {path}: expected {"colours" if self.colours else "values"}, as the other masks have')
        numbers = packed(values).astype(np.int64)
        places = np.searchsorted(self.numbers, numbers).clip(max=len(self.numbers) - 1)
        fits = self.numbers[places] == numbers
        if not fits.all():
            wrong = int(numbers[~fits][0])
            raise InputError(f'data: {path} has the value {wrong}, which no class has; mend it, or pass --ignore {wrong}')
        return self.classes[places]


def draw(outlines: Sequence[tuple[int, Any]], size: Size, background: int) -> NDArray[np.uint8]:
    """Outlines with their classes as a mask (H, W) of a picture of `size` (width, height), the small ones on top."""
    mask = np.full(size[::-1], background, np.uint8)
    for index, outline in sorted(outlines, key=lambda one: -area(one[1], size)):
        mask[drawn(outline, size)] = index
    return mask


class ClassMasks:
    """The class mask of each picture that was found: from its file, or drawn from its outlines but for crowds'."""

    def __init__(self, found: Found) -> None:
        self.lookup = None if found.values is None else Lookup(found.values.classes.items(), found.values.colours)
        self.ground = found.ground

    def __call__(self, picture: Picture) -> NDArray[np.uint8] | None:
        """(H, W) classes; None for a picture without a file where masks are files."""
        if self.lookup is not None:
            return None if picture.mask is None else self.lookup(picture.mask)
        outlines = [(one.label, one.outline) for one in picture.objects if one.outline is not None and not one.crowd]
        return draw(outlines, picture.size, self.ground)
