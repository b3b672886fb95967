"""A segmentor's figures over all its test pictures, from what was kept of them: every picture counted once, in threads."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convnext_dense.report.bootstrap import drawn_anew, interval
from convnext_dense.report.evaluated import FOLDER, MAPS, About, read_maps
from convnext_dense.report.known import iou, mean_known, ratio
from convnext_dense.report.seg_counts import SIZES, Counts, count
from convnext_dense.training.loading_time import processors

EXAMPLES = 3  # pictures of a confused pair
AHEAD = 8  # pictures that are counted before their turn, each thread

Floats = NDArray[np.float64]


@dataclass
class Figures:
    """Pixels of N pictures by C classes, and what follows from them; shares are of 1, NaN where there is nothing."""

    truth: Floats  # (N, C)
    predicted: Floats  # (N, C)
    both: Floats  # (N, C)
    confusion: NDArray[np.int64]  # (C, C): truth, prediction
    edge: NDArray[np.int64]  # (3, C)
    sizes: NDArray[np.int64]  # (len(SIZES), 3, C)
    mious: Floats  # (N,)
    examples: dict[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict)  # (pixels, picture), most first

    @property
    def ious(self) -> Floats:
        """(C,)"""
        return iou(self.truth.sum(0), self.predicted.sum(0), self.both.sum(0))

    @property
    def recalls(self) -> Floats:
        """(C,), which mmseg's metric calls accuracy."""
        return ratio(self.both.sum(0), self.truth.sum(0))

    @property
    def precisions(self) -> Floats:
        """(C,)"""
        return ratio(self.both.sum(0), self.predicted.sum(0))

    @property
    def boundary_ious(self) -> Floats:
        """(C,)"""
        return iou(*self.edge)

    @property
    def size_ious(self) -> Floats:
        """(len(SIZES), C), NaN where the truth has no region of the size."""
        found = np.stack([iou(*one) for one in self.sizes])
        found[self.sizes[:, 0] == 0] = np.nan
        return found

    def intervals(self, weights: Floats | None = None) -> dict[str, Floats]:
        """(2, C) for 'iou', 'recall' and 'precision', (2,) for 'miou': the middle 95 % over pictures drawn anew.

        NaN where fewer than `bootstrap.FEWEST` pictures have the class."""
        weights = drawn_anew(len(self.truth)) if weights is None else weights
        truth, predicted, both = weights @ self.truth, weights @ self.predicted, weights @ self.both
        ious, having = iou(truth, predicted, both), (self.truth > 0).sum(0)
        return dict(
            iou=interval(ious, having),
            recall=interval(ratio(both, truth), having),
            precision=interval(ratio(both, predicted), (self.predicted > 0).sum(0)),
            miou=interval(mean_known(ious, axis=1), len(self.truth)),
        )


def figures(work_dir: Path, about: About, told: Callable[[int, int], None] | None = None) -> Figures:
    """Count every kept picture; `told` is called as they are done.

    Raises:
        InputError: if one cannot be read.
    """
    pictures, classes = len(about.pictures), len(about.classes)
    shape = (pictures, classes)
    found = Figures(
        np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros((classes, classes), np.int64),
        np.zeros((3, classes), np.int64), np.zeros((len(SIZES), 3, classes), np.int64), np.full(pictures, np.nan),
    )  # fmt: skip
    folder = work_dir / FOLDER / MAPS

    def counted(index: int) -> Counts:
        return count(*read_maps(folder, index), classes)

    threads = processors()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, pictures, AHEAD * threads):
            several = range(start, min(start + AHEAD * threads, pictures))
            for index, counts in zip(several, pool.map(counted, several)):
                _add(found, index, counts)
                if told is not None:
                    told(index + 1, pictures)
    return found


def _add(found: Figures, index: int, counts: Counts) -> None:
    found.truth[index], found.predicted[index], found.both[index] = counts.truth, counts.predicted, counts.both
    found.edge += counts.edge
    found.sizes += counts.sizes
    found.mious[index] = counts.miou
    rows, columns, pixels = counts.pairs.T
    found.confusion[rows, columns] += pixels
    for row, column, number in counts.pairs[rows != columns].tolist():
        heap = found.examples.setdefault((row, column), [])
        if len(heap) < EXAMPLES:
            heapq.heappush(heap, (number, index))
        else:
            heapq.heappushpop(heap, (number, index))
