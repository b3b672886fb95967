"""What a detector's errors are, and what each kind costs: TIDE (arXiv 2008.08115, section 3).

Every false positive is of one kind; so is an object that none of them could be mended into. What a kind costs is how much
higher AP50 would be if an oracle mended all errors of that kind and no other. As in the authors' tool (tidecv 1.0.1):

- the 100 best detections of a picture count, of all classes together;
- a detection takes the free object of its class with the highest IoU, if that is at least 0.5;
- classes with false positives and without objects count in the mean, with 0, until their errors are mended;
- a detection in a crowd of its class is no false positive, but has a kind, and may be what the oracle mends.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.report.det_matches import Detected
from convnext_dense.report.det_scenes import Scene, Shapes, scenes

FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU from which on an object is found, and up to which there is nothing
MOST = 100  # detections of a picture
KINDS = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
CLASS, PLACE, BOTH, DUPLICATE, NOTHING, MISSED = KINDS
RECALLS = np.arange(101) / 100


class Error(NamedTuple):
    """One error; rows of the detections and of truth['annotations'], None where there is none."""

    kind: str
    detection: int | None
    truth: int | None  # the object confused, badly placed, found twice, missed; for 'both', the nearest
    iou: float  # of the two, 0 without one of them
    mends: bool  # whether the oracle makes a true positive of it; else it drops the detection, or the object
    in_crowd: bool = False  # then it counts in AP only if it is mended


@dataclass(frozen=True)
class Tide:
    """Numbers from 0 to 1. NaN where mending would leave neither an object nor a detection to compute AP of."""

    ap50: float  # NaN where there is neither an object nor a detection
    costs: dict[str, float]  # by kind
    false_positives: float  # what all false positives cost: AP50 if they had score 0, and true ones 1
    false_negatives: float  # and all objects that were not found
    not_found: int
    errors: list[Error]

    @property
    def counts(self) -> Counter[str]:
        """Of the errors that count in AP."""
        return Counter(error.kind for error in self.errors if not error.in_crowd)


def tide(detected: Detected, iou_type: str) -> Tide:
    """The errors of 'bbox' or 'segm', picture by picture, and what they cost."""
    shapes = Shapes(detected, iou_type)
    detections = detected.detections.get(iou_type, [])
    place = {category['id']: index for index, category in enumerate(detected.truth['categories'])}
    truth_labels = np.array([place[item['category_id']] for item in detected.truth['annotations']], np.int64)
    labels = np.array([place[item['category_id']] for item in detections], np.int64)
    scores = np.array([item['score'] for item in detections], np.float64)
    true: list[int] = []
    errors: list[Error] = []
    counted: list[int] = []  # rows of detections that are no crowds', in the order in which they come
    objects = np.zeros(len(place), np.int64)
    for scene in scenes(detected, iou_type):
        np.add.at(objects, truth_labels[scene.truths], 1)
        right, wrong = _of_scene(scene, shapes, labels, truth_labels)
        true += right
        errors += wrong
        positives = {*right, *(error.detection for error in wrong if not error.in_crowd)}
        counted += [row for row in scene.found[:MOST] if row in positives]
    return _costs(true, errors, counted, labels, truth_labels, scores, objects)


def _of_scene(
    scene: Scene, shapes: Shapes, labels: NDArray[np.int64], truth_labels: NDArray[np.int64]
) -> tuple[list[int], list[Error]]:
    """The rows of one picture's true positives, and its errors."""
    found = scene.found[:MOST]
    iou = shapes.overlaps(found, scene.truths)  # (D, G)
    same = labels[found][:, None] == truth_labels[scene.truths][None, :]
    own = iou * same
    taken, matched = np.zeros(len(scene.truths), bool), np.zeros(len(found), bool)
    free = own.copy()
    for index in np.flatnonzero(own.max(1, initial=0) >= FOREGROUND):
        best = free[index].argmax()
        if free[index, best] >= FOREGROUND:
            taken[best] = matched[index] = True
            free[:, best] = 0
    crowd_iou = shapes.overlaps(found, scene.crowds, crowds=True)
    in_crowd = ((crowd_iou > FOREGROUND) & (labels[found][:, None] == truth_labels[scene.crowds][None, :])).any(1)
    wrong = np.flatnonzero(~matched)
    errors, mended = _false_positives(wrong, found, scene.truths, iou, same, taken)
    errors = [error._replace(in_crowd=bool(in_crowd[index])) for index, error in zip(wrong, errors)]
    for index in np.flatnonzero(~taken):
        if index not in mended:
            errors.append(Error(MISSED, None, scene.truths[index], 0.0, False))
    return [found[index] for index in np.flatnonzero(matched)], errors


def _false_positives(
    wrong: NDArray[np.int64],
    found: list[int],
    truths: list[int],
    iou: NDArray[np.float64],
    same: NDArray[np.bool_],
    taken: NDArray[np.bool_],
) -> tuple[list[Error], set[int]]:
    """The kind of each, by falling score, and the objects that are found once they are mended: each by the best score alone."""
    if not truths:
        return [Error(NOTHING, found[index], None, 0.0, False) for index in wrong], set()
    iou, same = iou[wrong], same[wrong]
    own, others, used = iou * same, iou * ~same, iou * same * taken
    nearest = {PLACE: own.argmax(1), CLASS: others.argmax(1), DUPLICATE: used.argmax(1), BOTH: iou.argmax(1)}
    best = own.max(1)
    kinds = np.select(
        [
            (best >= BACKGROUND) & (best <= FOREGROUND),
            others.max(1) >= FOREGROUND,
            used.max(1) >= FOREGROUND,
            iou.max(1) <= BACKGROUND,
        ],
        [PLACE, CLASS, DUPLICATE, NOTHING],
        BOTH,
    ).tolist()
    errors: list[Error] = []
    mended: set[int] = set()
    for row, (index, kind) in enumerate(zip(wrong, kinds)):
        if kind == NOTHING:
            errors.append(Error(kind, found[index], None, 0.0, False))
            continue
        truth = int(nearest[kind][row])
        mends = kind in (PLACE, CLASS) and not taken[truth] and truth not in mended
        if mends:
            mended.add(truth)
        errors.append(Error(kind, found[index], truths[truth], float(iou[row, truth]), mends))
    return errors, mended


def _costs(
    true: list[int],
    errors: list[Error],
    counted: list[int],
    labels: NDArray[np.int64],
    truth_labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    objects: NDArray[np.int64],
) -> Tide:
    right = np.zeros(len(labels), bool)
    right[true] = True
    ap50 = _mean_ap(labels[counted], scores[counted], right[counted], objects)
    wrong = [error for error in errors if error.detection is not None]
    # The tool puts false positives before true ones once it has mended, which tells where scores are equal.
    rows = np.array([*(error.detection for error in wrong), *true], np.int64)
    mends = np.array([*(error.mends for error in wrong), *[False] * len(true)], bool)
    counts = np.array([*(not error.in_crowd for error in wrong), *[True] * len(true)], bool)
    kinds = np.array([*(error.kind for error in wrong), *[''] * len(true)])
    mended = np.array([_label(error, labels, truth_labels) for error in wrong], np.int64)
    mended = np.concatenate([mended, labels[true]])
    missed = np.zeros_like(objects)
    for error in errors:
        if error.kind == MISSED:
            missed[truth_labels[error.truth]] += 1
    costs = {}
    for kind in KINDS:
        chosen = kinds == kind
        kept = np.where(chosen, mends, counts)
        left = objects - missed if kind == MISSED else objects
        after = np.where(chosen, mended, labels[rows])
        costs[kind] = _gain(_mean_ap(after[kept], scores[rows][kept], (right[rows] | chosen)[kept], left), ap50)
    found = np.bincount(labels[true], minlength=len(objects))
    rows = rows[counts]
    perfect = _mean_ap(labels[rows], right[rows].astype(float), right[rows], objects)
    whole = _mean_ap(labels[rows], scores[rows], right[rows], found)
    return Tide(ap50, costs, _gain(perfect, ap50), _gain(whole, ap50), int(objects.sum() - found.sum()), errors)


def _label(error: Error, labels: NDArray[np.int64], truth_labels: NDArray[np.int64]) -> int:
    """The class of a detection once it is mended."""
    return int(truth_labels[error.truth] if error.mends else labels[error.detection])


def _gain(after: float, before: float) -> float:
    return float(np.maximum(after - before, 0))  # NaN stays


def _mean_ap(
    labels: NDArray[np.int64], scores: NDArray[np.float64], true: NDArray[np.bool_], objects: NDArray[np.int64]
) -> float:
    """The mean over the classes with objects or detections of AP at 101 recalls; NaN without any."""
    order = np.lexsort((-scores, labels))  # stable
    ends = np.searchsorted(labels[order], np.arange(len(objects) + 1))
    values = [
        _ap(true[order[start:end]], int(count)) for start, end, count in zip(ends, ends[1:], objects) if end > start or count
    ]
    return float(np.mean(values)) if values else float('nan')


def _ap(true: NDArray[np.bool_], objects: int) -> float:
    if not objects or not len(true):
        return 0.0
    hits = np.cumsum(true)
    envelope = np.maximum.accumulate((hits / np.arange(1, len(true) + 1))[::-1])[::-1]
    return float(np.append(envelope, 0)[np.searchsorted(hits / objects, RECALLS)].mean())
