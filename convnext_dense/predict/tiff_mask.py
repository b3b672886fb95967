"""A segmentor's answer to a TIFF of any size, as a TIFF of class indices, written as it is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext_dense.predict.model import Model
from convnext_dense.predict.windows import Tiff, tiff_library

STRIP = 64  # rows that are compressed together


def write_mask(model: Model, picture: Tiff, path: Path) -> Counter[str]:
    """Write class indices, with a palette where there are at most 255 classes, and where it lies on the earth, if it says so.

    Pixels by class.
    """
    many = len(model.classes) > 255
    counts: Counter[int] = Counter()

    def counted(rows: NDArray[Any]) -> NDArray[Any]:
        found, times = np.unique(rows, return_counts=True)
        counts.update(dict(zip(found.tolist(), times.tolist())))
        return rows

    colours = np.zeros((3, 256), np.uint16)
    if not many:
        colours[:, : len(model.palette)] = np.array(model.palette, np.uint16).T * 257
    look: dict[str, Any] = dict(photometric='minisblack') if many else dict(photometric='palette', colormap=colours)
    with tiff_library().TiffWriter(path) as file:
        file.write(
            strips(map(counted, model.rows(picture)), STRIP),
            shape=picture.size,
            dtype=np.uint16 if many else np.uint8,
            rowsperstrip=STRIP,
            compression='zlib',
            extratags=picture.geo,
            metadata=None,
            **look,
        )
    return Counter({model.classes[label]: n for label, n in counts.items() if label < len(model.classes)})


def strips(parts: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """Parts of any number of rows as parts of `rows`; the last may have fewer."""
    kept: list[NDArray[Any]] = []
    for part in parts:
        kept.append(part)
        if sum(map(len, kept)) >= rows:
            whole = np.concatenate(kept)
            full = len(whole) // rows * rows
            for start in range(0, full, rows):
                yield whole[start : start + rows]
            kept = [whole[full:]] if full < len(whole) else []
    if kept:
        yield np.concatenate(kept)
