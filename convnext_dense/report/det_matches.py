"""What COCO's evaluator matched, class by class, and average precision under any weighting of the pictures.

Letters of shapes: N detections of a class, G its objects (crowds left out), P pictures, K classes, T = 10 IoU thresholds
(0.50, 0.55 ... 0.95), R = 101 recalls (0, 0.01 ... 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext_dense.detection.coco_metric import TYPES, coco_stats
from convnext_dense.errors import InputError

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU, as pycocotools makes them
RECALLS = np.linspace(0, 1, 101)
SIZES = ('all', 'small', 'medium', 'large')  # pycocotools' order of its ranges of areas
MOST = 100  # detections of a class in a picture
CLASSES = 8  # evaluated at a time: pycocotools keeps a dict of each class, picture and range of sizes
ELEMENTS = 2**21  # of an array of weights by detections, at a time


@dataclass
class Detected:
    """A detector's answers about annotated pictures.

    Args:
        truth: the content of a COCO annotation file, of the evaluated pictures and classes alone.
        detections: by 'bbox' and 'segm', rows of `image_id`, `category_id`, `score`, and `bbox` (x, y, width, height) or
            `segmentation` (run lengths).
        images: the folder of the pictures.
        metrics: COCO's numbers as `test` prints them: 'coco/bbox_mAP' and so on.
        channels: of the pictures, as in training; None for photographs.
    """

    truth: dict[str, Any]
    detections: dict[str, list[dict[str, Any]]]
    images: Path
    metrics: dict[str, float]
    channels: int | None = None


def types_of(detected: Detected) -> list[str]:
    """'bbox', 'segm' or both, in this order: what the model makes; boxes where it found nothing at all."""
    return [one for one in TYPES if one in detected.detections] or list(TYPES[:1])


@dataclass(frozen=True)
class ClassMatches:
    """One class in all pictures; detections by falling score, of equal ones the earlier picture first."""

    scores: NDArray[np.float64]  # (N,)
    pictures: NDArray[np.int64]  # (N,), indices of `Matches.images`
    rows: NDArray[np.int64]  # (N,), of the list of detections
    true: NDArray[np.bool_]  # (T, N): matched with an object
    ignored: NDArray[np.bool_]  # (T, N): matched with a crowd
    truths: NDArray[np.int64]  # (P,): objects of each picture
    truth_rows: NDArray[np.int64]  # (G,), of truth['annotations']
    found: NDArray[np.float64]  # (T, G): the score of the detection that it was matched with, NaN where it was missed


@dataclass(frozen=True)
class Matches:
    """All classes, in the order of truth['categories']."""

    images: list[int]  # ids, rising
    categories: list[dict[str, Any]]
    classes: list[ClassMatches]
    precision: NDArray[np.float64]  # (T, R, K, 4): COCOeval's of all sizes, small, medium, large; NaN without objects

    @property
    def names(self) -> list[str]:
        return [category['name'] for category in self.categories]

    @property
    def objects(self) -> NDArray[np.int64]:
        """(K, P): how many objects of each class are in each picture."""
        return np.array([one.truths for one in self.classes], np.int64).reshape(len(self.classes), len(self.images))


def class_matches(detected: Detected, iou_type: str) -> Matches:
    """What `coco_stats` matches with 'bbox' or 'segm'; a few classes at a time, which changes no number and saves memory."""
    categories = list(detected.truth['categories'])
    images = sorted({image['id'] for image in detected.truth['images']})
    truth_rows = _rows_by_class(detected.truth['annotations'])
    detections = detected.detections.get(iou_type, [])
    rows = _rows_by_class(detections)
    classes: dict[int, ClassMatches] = {}
    precision = np.full((len(THRESHOLDS), len(RECALLS), len(categories), len(SIZES)), np.nan)
    place = {category['id']: index for index, category in enumerate(categories)}
    for some in _parts(categories):
        some_truth = np.concatenate([truth_rows.get(one['id'], _NONE) for one in some])
        some_rows = np.concatenate([rows.get(one['id'], _NONE) for one in some])
        annotations = [detected.truth['annotations'][row] for row in some_truth]
        truth = dict(images=detected.truth['images'], categories=some, annotations=annotations)
        _, run = coco_stats(truth, [detections[row] for row in some_rows], iou_type)
        scores = np.array([detections[row]['score'] for row in some_rows], np.float64)
        for index, category in enumerate(run.params.catIds):
            start = index * len(SIZES) * len(images)  # evalImgs: by class, by range of sizes, by picture
            entries = run.evalImgs[start : start + len(images)]
            classes[category] = _class(entries, some_rows, some_truth, scores)
            precision[:, :, place[category]] = run.eval['precision'][:, :, index, :, -1]
    precision[precision < 0] = np.nan
    return Matches(images, categories, [classes[one['id']] for one in categories], precision)


_NONE = np.zeros(0, np.int64)


def _rows_by_class(items: Sequence[dict[str, Any]]) -> dict[int, NDArray[np.int64]]:
    rows: dict[int, list[int]] = {}
    for row, item in enumerate(items):
        rows.setdefault(item['category_id'], []).append(row)
    return {category: np.array(several, np.int64) for category, several in rows.items()}


def _parts(categories: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(categories), CLASSES):
        yield list(categories[start : start + CLASSES])


def _class(
    entries: Sequence[dict[str, Any] | None],
    rows: NDArray[np.int64],
    truth_rows: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> ClassMatches:
    """From COCOeval's dicts, one a picture; its ids are one more than indices of `rows` and `truth_rows`."""
    there = [(picture, one) for picture, one in enumerate(entries) if one is not None]
    none = np.zeros((len(THRESHOLDS), 0))
    ids = np.array([number for _, one in there for number in one['dtIds']], np.int64)
    pictures = np.array([picture for picture, one in there for _ in one['dtIds']], np.int64)
    matched = np.concatenate([none, *(one['dtMatches'] for _, one in there)], axis=1) > 0
    ignored = np.concatenate([none, *(one['dtIgnore'] for _, one in there)], axis=1) > 0
    order = np.argsort(-scores[ids - 1], kind='stable')

    counted = np.concatenate([np.zeros(0), *(one['gtIgnore'] for _, one in there)]) == 0
    truth_ids = np.array([number for _, one in there for number in one['gtIds']], np.int64)[counted]
    by = np.concatenate([none, *(one['gtMatches'] for _, one in there)], axis=1)[:, counted].astype(np.int64)
    truths = np.zeros(len(entries), np.int64)
    for picture, one in there:
        truths[picture] = np.count_nonzero(np.asarray(one['gtIgnore']) == 0)
    return ClassMatches(
        scores=scores[ids - 1][order],
        pictures=pictures[order],
        rows=rows[ids - 1][order],
        true=(matched & ~ignored)[:, order],
        ignored=ignored[:, order],
        truths=truths,
        truth_rows=truth_rows[truth_ids - 1],
        found=np.append(scores, np.nan)[by - 1],  # 0 is no match: the last one
    )


def average_precisions(matches: Matches, weights: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AP at IoU 0.50:0.95 and AP50 of each class, (B, K) both, for B weightings of the pictures.

    Args:
        matches: of `class_matches`.
        weights: (B, P), not negative, in the order of `matches.images`: ones give COCO's numbers, zeros leave pictures out,
            counts repeat pictures, as a bootstrap does.

    NaN where the weighted pictures have no object of the class.

    Raises:
        InputError: for weights of another shape.
    """
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 2 or weights.shape[1] != len(matches.images):
        raise InputError(
            f'weights: expected shape (B, {len(matches.images)}), one for each picture, got {weights.shape}; '
            'order them as matches.images'
        )
    both = np.full((2, len(weights), len(matches.classes)), np.nan)
    for index, one in enumerate(matches.classes):
        step = max(1, ELEMENTS // max(1, len(one.scores)))
        for start in range(0, len(weights), step):
            both[:, start : start + step, index] = _weighted(one, weights[start : start + step])
    return both[0], both[1]


def _weighted(one: ClassMatches, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, B): AP over all thresholds, and at the first."""
    objects = weights @ one.truths  # (B,)
    there = np.flatnonzero(objects > 0)
    weighed = weights[there][:, one.pictures]  # (B, N)
    counted = None if one.ignored.any() else np.cumsum(weighed, axis=1)
    sums = np.zeros((len(THRESHOLDS), len(there)))
    for t, (true, ignored) in enumerate(zip(one.true, one.ignored)):
        columns = np.flatnonzero(true)
        if not len(columns):
            continue
        # Precision is at its highest, and recall rises, at true positives alone: the others need no column.
        all_so_far = np.cumsum(weighed * ~ignored, axis=1) if counted is None else counted
        true_so_far = np.cumsum(weighed[:, columns], axis=1)
        precision = true_so_far / (all_so_far[:, columns] + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # How many of the recalls are reached: each has the precision of the first column that reaches it, or 0.
        reached = np.searchsorted(RECALLS, true_so_far / objects[there, None], side='right')
        sums[t] = (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1)
    values = np.full((2, len(weights)), np.nan)
    values[0, there] = sums.mean(axis=0) / len(RECALLS)
    values[1, there] = sums[0] / len(RECALLS)
    return values
