"""A segmentor's answer to a TIFF of any size, as a TIFF of class indices, written as it is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.channels import tiff_library
from convnext_dense.predict.predictor import Predictor
from convnext_dense.predict.result import index_type
from convnext_dense.predict.windows import Tiff

TILE = 256  # pixels a side of what is compressed together


def write_mask(model: Predictor, picture: Tiff, path: Path) -> Counter[str]:
    """Write class indices, with a palette where there are at most 255 classes, and where it lies on the earth, if it says so.

    Pixels by class.
    """
    dtype = index_type(len(model.classes))
    many = dtype == np.uint16
    counts: Counter[int] = Counter()

    def counted(rows: NDArray[Any]) -> NDArray[Any]:
        found, times = np.unique(rows, return_counts=True)
        counts.update(dict(zip(found.tolist(), times.tolist())))
        return rows

    colours = np.zeros((3, 256), np.uint16)
    if not many:
        colours[:, : len(model.palette)] = np.array(model.palette, np.uint16).T * 257
    look: dict[str, Any] = dict(photometric='minisblack') if many else dict(photometric='palette', colormap=colours)
    with tiff_library('tiles of a TIFF').TiffWriter(path) as file:
        file.write(
            tiles(map(counted, model.rows(picture)), picture.size[1]),
            shape=picture.size,
            dtype=dtype,
            tile=(TILE, TILE),
            compression='zlib',
            extratags=picture.geo,
            metadata=None,
            **look,
        )
    return Counter({model.classes[label]: n for label, n in counts.items() if label < len(model.classes)})


def tiles(parts: Iterable[NDArray[Any]], width: int) -> Iterator[NDArray[Any]]:
    """Rows of any number at a time as square tiles, row by row; those at the end are filled up with 0."""
    kept: list[NDArray[Any]] = []
    for part in parts:
        kept.append(part)
        while sum(map(len, kept)) >= TILE:
            rows = np.concatenate(kept)
            yield from _across(rows[:TILE], width)
            kept = [rows[TILE:]]
    if sum(map(len, kept)):
        yield from _across(np.concatenate(kept), width)


def _across(rows: NDArray[Any], width: int) -> Iterator[NDArray[Any]]:
    for left in range(0, width, TILE):
        tile = np.zeros((TILE, TILE), rows.dtype)
        part = rows[:, left : left + TILE]
        tile[: part.shape[0], : part.shape[1]] = part
        yield tile
