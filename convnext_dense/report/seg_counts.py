"""What is counted of a picture's predicted classes: pixels by pairs of classes, along boundaries, by the size of regions."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from convnext_dense.report.known import iou, mean_known

BOUNDARY = 0.02  # of the picture's diagonal, the width of the band along a boundary: arXiv 2103.16562, section 4
SIZES = ('small', 'medium', 'large')
EDGES = (32**2, 96**2)  # COCO's, in pixels: a region of fewer than the first is small, of fewer than the second medium

Ints = NDArray[np.int64]


class Counts(NamedTuple):
    """Pixels of one picture, by class: those in the truth, of the prediction where the truth has a class, of both."""

    truth: Ints  # (C,)
    predicted: Ints  # (C,)
    both: Ints  # (C,)
    pairs: Ints  # (K, 3): truth, prediction, pixels, of the pairs that there are
    edge: Ints  # (3, C): in the bands along boundaries: of the truth, of the prediction, of both
    sizes: Ints  # (len(SIZES), 3, C): as the first three, by the size of the truth's region

    @property
    def ious(self) -> NDArray[np.float64]:
        """(C,), NaN for classes that are neither in the truth nor predicted."""
        return iou(self.truth, self.predicted, self.both)

    @property
    def miou(self) -> float:
        """The mean over the classes that are there; NaN where the truth has no pixel of any."""
        return mean_known(self.ious)


def count(truth: NDArray, predicted: NDArray, classes: int) -> Counts:
    """Of maps (H, W) of class indices; pixels whose truth is no class (`classes` or above) count nowhere.

    Boundaries: pixels of a class that lie within the band's width of another class, or of the picture's edge (arXiv 2103.16562,
    equation 3, of all classes at once); where the truth has no class, the prediction has none either. Sizes: connected regions
    of the truth; a wrongly predicted pixel counts for the region of its class that is nearest, and nowhere where the picture's
    truth has no region of that class.
    """
    valid = truth < classes
    t, p = truth[valid].astype(np.int64), predicted[valid].astype(np.int64)
    codes, pixels = np.unique(t * classes + p, return_counts=True)
    pairs = np.stack([codes // classes, codes % classes, pixels], axis=1)
    same = pairs[:, 0] == pairs[:, 1]

    def by_class(column: int, rows: NDArray) -> Ints:
        return np.bincount(pairs[rows, column], pairs[rows, 2], classes).astype(np.int64)

    every = np.ones(len(pairs), bool)
    edge = _edges(truth, predicted, valid, classes)
    return Counts(
        by_class(0, every), by_class(1, every), by_class(0, same), pairs, edge, _sizes(truth, predicted, valid, classes)
    )


def _band(labels: NDArray, width: int) -> NDArray[np.bool_]:
    """Where another label, or the picture's edge, is within `width` pixels along either axis."""
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    beyond = int(np.iinfo(labels.dtype).max)
    highest = cv2.dilate(labels, square, borderType=cv2.BORDER_CONSTANT, borderValue=float(beyond))
    lowest = cv2.erode(labels, square, borderType=cv2.BORDER_CONSTANT, borderValue=0.0)
    found = highest != lowest
    found[:width], found[-width:], found[:, :width], found[:, -width:] = True, True, True, True
    return found


def _edges(truth: NDArray, predicted: NDArray, valid: NDArray, classes: int) -> Ints:
    width = max(1, round(BOUNDARY * float(np.hypot(*truth.shape))))
    # Both have the same pixels of no class, whose rim would otherwise be a boundary of the truth alone.
    of_truth, of_predicted = (_band(labels, width) & valid for labels in (truth, np.where(valid, predicted, truth)))
    of_both = of_truth & of_predicted & (truth == predicted)
    maps = ((truth, of_truth), (predicted, of_predicted), (truth, of_both))
    return np.stack([np.bincount(labels[where], minlength=classes)[:classes] for labels, where in maps])


def _sizes(truth: NDArray, predicted: NDArray, valid: NDArray, classes: int) -> Ints:
    found = np.zeros((len(SIZES), 3, classes), np.int64)
    for label in np.unique(truth[valid]):
        own = truth == label
        regions, numbered, stats, _ = cv2.connectedComponentsWithStats(own.view(np.uint8), connectivity=8)
        bins = np.searchsorted(EDGES, stats[1:, cv2.CC_STAT_AREA], side='right')  # of each region
        said = (predicted == label) & valid
        wrong = said & ~own
        for size in np.unique(bins):
            found[size, 0, label] = stats[1:, cv2.CC_STAT_AREA][bins == size].sum()
        if regions == 2 or (bins == bins[0]).all():
            found[bins[0], 1:, label] = said.sum(), (said & own).sum()
            continue
        size_of = np.concatenate([[0], bins])
        right = np.bincount(size_of[numbered[said & own]], minlength=len(SIZES))
        found[:, 2, label] = right
        found[:, 1, label] = right + _nearest(own, size_of, numbered, wrong)
    return found


def _nearest(own: NDArray, size_of: NDArray, numbered: NDArray, wrong: NDArray) -> Ints:
    """Wrong pixels by the size of the nearest region."""
    if not wrong.any():
        return np.zeros(len(SIZES), np.int64)
    away = (~own).view(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    # OpenCV numbers the regions in its own way: what number a region has is read off one of its pixels.
    region_of = np.zeros(int(nearest.max()) + 1, np.int64)
    region_of[nearest[own]] = numbered[own]
    return np.bincount(size_of[region_of[nearest[wrong]]], minlength=len(SIZES))
