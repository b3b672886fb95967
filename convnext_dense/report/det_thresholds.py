"""From which score on to keep a class's detections, and which classes are then taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.report.det_matches import ClassMatches, Detected, Matches
from convnext_dense.report.det_scenes import Scene, Shapes, scenes

IOU = 0.5


class Threshold(NamedTuple):
    """Of one class: detections of at least this score are kept; infinite where keeping none is best."""

    score: float
    precision: float  # NaN where none is kept
    recall: float  # NaN without objects, as F1
    f1: float


def thresholds(matches: Matches) -> list[Threshold]:
    """The score with the highest F1 at IoU 0.5, class by class.

    Detections of equal score are kept or left out together. Of scores with equal F1 the highest is taken. Without
    detections, without objects, and where no detection finds an object, none is kept. Detections in crowds do not count.
    """
    return [_best(one) for one in matches.classes]


def _best(one: ClassMatches) -> Threshold:
    counted = ~one.ignored[0]
    scores, hits = one.scores[counted], np.cumsum(one.true[0][counted])
    objects = int(one.truths.sum())
    nothing = 0.0 if objects else float('nan')
    if not len(scores) or not hits[-1]:
        return Threshold(float('inf'), float('nan'), nothing, nothing)
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # of each run of equal scores
    kept, hits = last + 1, hits[last]
    f1 = 2 * hits / (kept + objects)
    best = int(f1.argmax())  # the first, which is the highest score
    return Threshold(float(scores[last[best]]), float(hits[best] / kept[best]), float(hits[best] / objects), float(f1[best]))


def confusion(detected: Detected, iou_type: str, matches: Matches, least: Sequence[float]) -> NDArray[np.int64]:
    """(K + 1, K + 1): objects by their class and the class that they were taken for.

    Detections of at least their class's score in `least` take, best score first, the free object of highest IoU, of any
    class, if that is at least 0.5. The last column counts objects that none took; the last row, detections that took none.
    Those in a crowd of their class are left out.
    """
    shapes = Shapes(detected, iou_type)
    place = {category['id']: index for index, category in enumerate(matches.categories)}
    truth_labels = np.array([place[item['category_id']] for item in detected.truth['annotations']], np.int64)
    kept = {
        int(row): label
        for label, (one, score) in enumerate(zip(matches.classes, least))
        for row in one.rows[one.scores >= score]
    }
    table = np.zeros((len(place) + 1, len(place) + 1), np.int64)
    for scene in scenes(detected, iou_type):
        found = [row for row in scene.found if row in kept]
        labels = np.array([kept[row] for row in found], np.int64)
        rows, columns = _pairs(scene, found, labels, truth_labels, shapes, len(place))
        np.add.at(table, (np.array(rows, np.int64), np.array(columns, np.int64)), 1)
    return table


def _pairs(
    scene: Scene, found: list[int], labels: NDArray[np.int64], truth_labels: NDArray[np.int64], shapes: Shapes, none: int
) -> tuple[list[int], list[int]]:
    """Rows and columns of the table, one for each object and each false alarm of a picture."""
    of, taken_for = truth_labels[scene.truths].tolist(), [none] * len(scene.truths)
    rows, columns = [], []
    iou = shapes.overlaps(found, scene.truths)
    same = labels[:, None] == truth_labels[scene.crowds][None, :]
    in_crowd = ((shapes.overlaps(found, scene.crowds, crowds=True) >= IOU) & same).any(1)
    for index, label in enumerate(labels.tolist()):
        best = int(iou[index].argmax()) if len(of) else -1
        if best >= 0 and iou[index, best] >= IOU:
            taken_for[best] = label
            iou[:, best] = 0
        elif not in_crowd[index]:
            rows.append(none)
            columns.append(label)
    return [*of, *rows], [*taken_for, *columns]
