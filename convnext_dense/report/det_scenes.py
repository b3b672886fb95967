"""One picture's objects and detections at a time, and how far they overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from convnext_dense.report.det_matches import Detected

Box = tuple[float, float, float, float]  # x1, y1, x2, y2


class Scene(NamedTuple):
    """A picture; the rows of its objects and crowds in truth['annotations'], and of its detections, best score first."""

    image: dict[str, Any]
    truths: list[int]
    crowds: list[int]
    found: list[int]


def scenes(detected: Detected, iou_type: str) -> Iterator[Scene]:
    """Every picture, in the order of truth['images']."""
    annotations, detections = detected.truth['annotations'], detected.detections.get(iou_type, [])
    truths: dict[int, list[int]] = {}
    crowds: dict[int, list[int]] = {}
    found: dict[int, list[int]] = {}
    for row, item in enumerate(annotations):
        (crowds if item.get('iscrowd') else truths).setdefault(item['image_id'], []).append(row)
    for row, item in enumerate(detections):
        found.setdefault(item['image_id'], []).append(row)
    for image in detected.truth['images']:
        number = image['id']
        best_first = sorted(found.get(number, []), key=lambda row: -detections[row]['score'])
        yield Scene(image, truths.get(number, []), crowds.get(number, []), best_first)


class Shapes:
    """The boxes or masks of all annotations and detections."""

    def __init__(self, detected: Detected, iou_type: str) -> None:
        self._annotations = detected.truth['annotations']
        self._detections = detected.detections.get(iou_type, [])
        self._masks = iou_type == 'segm'
        self._outlines: dict[int, Any] = {}  # run lengths of annotations, which may be polygons
        self._coco = COCO()
        if self._masks:  # which knows pictures' sizes
            self._coco.imgs = {image['id']: image for image in detected.truth['images']}

    def overlaps(self, found: Sequence[int], truths: Sequence[int], crowds: bool = False) -> NDArray[np.float64]:
        """(D, G) IoU of rows of detections and of annotations; with `crowds`, the share of a detection that is in a crowd."""
        if not len(found) or not len(truths):
            return np.zeros((len(found), len(truths)))
        given, there = [self._found(row) for row in found], [self._truth(row) for row in truths]
        return np.asarray(coco_mask.iou(given, there, [crowds] * len(there)), np.float64)

    def between(self, truths: Sequence[int]) -> NDArray[np.float64]:
        """(G, G) IoU of rows of annotations."""
        there = [self._truth(row) for row in truths]
        return np.array(coco_mask.iou(there, there, [False] * len(there)), np.float64)

    def truth_box(self, row: int) -> Box:
        item = self._annotations[row]
        return _corners(item['bbox'] if 'bbox' in item else coco_mask.toBbox(self._truth(row)))

    def found_box(self, row: int) -> Box:
        return _corners(coco_mask.toBbox(self._found(row)) if self._masks else self._detections[row]['bbox'])

    def _truth(self, row: int) -> Any:
        item = self._annotations[row]
        if not self._masks:
            return list(map(float, item['bbox']))
        if row not in self._outlines:
            self._outlines[row] = self._coco.annToRLE(item)
        return self._outlines[row]

    def _found(self, row: int) -> Any:
        item = self._detections[row]
        return item['segmentation'] if self._masks else list(map(float, item['bbox']))


def _corners(box: Sequence[float]) -> Box:
    x, y, width, height = map(float, box)
    return x, y, x + width, y + height
