"""Average precision by class, by size and by crowding, precision by recall, and recall by overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.report.det_matches import RECALLS, SIZES, Detected, Matches, average_precisions
from convnext_dense.report.det_scenes import Shapes, scenes
from convnext_dense.report.known import mean_known

AT = {0.5: 0, 0.75: 5}  # IoU thresholds of the curves, and their places
AREAS = {'small': (0, 32**2), 'medium': (32**2, 96**2), 'large': (96**2, 1e10)}  # pycocotools'; both ends count
OVERLAPS = ((0.0, 'none'), (0.1, 'up to 0.1'), (0.3, '0.1 to 0.3'), (np.inf, 'above 0.3'))


class ClassRow(NamedTuple):
    """AP of a class; NaN without objects."""

    name: str
    objects: int
    ap: float
    ap50: float


class Curves(NamedTuple):
    """Precision at R recalls, for each IoU threshold of `AT`; NaN of classes without objects."""

    recalls: NDArray[np.float64]  # (R,)
    classes: NDArray[np.float64]  # (2, K, R)
    mean: NDArray[np.float64]  # (2, R)


class Group(NamedTuple):
    """A part of the objects or pictures; means over the classes that have objects in it."""

    name: str
    pictures: int
    objects: int
    ap: float
    ap50: float


class Overlap(NamedTuple):
    """Objects by the IoU with the nearest other one, and the shares found at IoU 0.5: at any score, and at the thresholds."""

    name: str
    objects: int
    recall: float
    recall_kept: float


def by_class(matches: Matches) -> list[ClassRow]:
    """In the order of the categories."""
    return [
        ClassRow(name, int(one.truths.sum()), mean_known(precision), mean_known(precision[0]))
        for name, one, precision in zip(matches.names, matches.classes, np.moveaxis(matches.precision[..., 0], 2, 0))
    ]


def curves(matches: Matches) -> Curves:
    """Precision by recall at IoU 0.5 and 0.75."""
    classes = matches.precision[list(AT.values()), :, :, 0].transpose(0, 2, 1)
    return Curves(RECALLS, classes, mean_known(classes, axis=1))


def by_size(matches: Matches, truth: dict[str, Any]) -> list[Group]:
    """COCO's three sizes, by the `area` of an annotation; AP as COCO's mAP_s, mAP_m and mAP_l."""
    there = [truth['annotations'][row] for one in matches.classes for row in one.truth_rows]
    rows = []
    for name, (low, high) in AREAS.items():
        inside = [item for item in there if low <= item['area'] <= high]
        precision = matches.precision[..., SIZES.index(name)]
        rows.append(
            Group(
                name, len({item['image_id'] for item in inside}), len(inside), mean_known(precision), mean_known(precision[0])
            )
        )
    return rows


def by_crowding(matches: Matches) -> list[Group]:
    """Pictures in up to four groups of about as many, by their number of objects; pictures without objects are in none."""
    counts = matches.objects.sum(axis=0)
    bins = _bins(counts[counts > 0])
    if not bins:
        return []
    inside = np.array([(counts >= low) & (counts <= high) for low, high in bins])
    ap, ap50 = average_precisions(matches, inside)
    return [
        Group(
            f'{low}' if low == high else f'{low} to {high}',
            int(of.sum()),
            int(counts[of].sum()),
            mean_known(ap[i]),
            mean_known(ap50[i]),
        )
        for i, ((low, high), of) in enumerate(zip(bins, inside))
    ]


def _bins(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Whole numbers (from, to), both inside, whose ends are the quartiles."""
    if not len(counts):
        return []
    ends = np.unique(np.quantile(counts, [0.25, 0.5, 0.75, 1], method='inverted_cdf')).astype(int).tolist()
    return list(zip([int(counts.min()), *(end + 1 for end in ends)], ends))


def by_overlap(detected: Detected, matches: Matches, thresholds: Sequence[float]) -> list[Overlap]:
    """Recall of objects whose boxes overlap the box of another object of the picture, of whatever class, less or more.

    `thresholds`: a class's least score, for `recall_kept`.
    """
    boxes = Shapes(detected, 'bbox')
    nearest = np.zeros(len(detected.truth['annotations']))
    for scene in scenes(detected, 'bbox'):
        if len(scene.truths) > 1:
            iou = boxes.between(scene.truths)
            np.fill_diagonal(iou, 0)
            nearest[scene.truths] = iou.max(axis=1)
    rows = np.concatenate([np.zeros(0, np.int64), *(one.truth_rows for one in matches.classes)])
    found = np.concatenate([np.zeros(0), *(one.found[0] for one in matches.classes)])  # the score at IoU 0.5
    least = np.repeat(np.asarray(thresholds, np.float64), [len(one.truth_rows) for one in matches.classes])
    group = np.searchsorted([end for end, _ in OVERLAPS], nearest[rows])
    return [
        Overlap(
            name,
            int((group == index).sum()),
            mean_known(~np.isnan(found[group == index])),
            mean_known(found[group == index] >= least[group == index]),
        )
        for index, (_, name) in enumerate(OVERLAPS)
    ]
