"""Runs that are compared: their logs, what their models said, and the metric that both are known by."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext_dense.errors import InputError
from convnext_dense.report.det_matches import Detected, Matches, average_precisions, class_matches, types_of
from convnext_dense.report.evaluated import DETECTIONS, FOLDER, TRUTH, About
from convnext_dense.report.known import iou, mean_known, ratio
from convnext_dense.report.log import Log
from convnext_dense.report.paired import Difference, Floats, Metric, difference
from convnext_dense.report.seg_figures import Figures

BOXES = 'bbox'
PICTURES, ANNOTATIONS = 'different pictures', 'different annotations of the same pictures'


@dataclass
class Run:
    """A work directory, evaluated."""

    name: str
    log: Log
    about: About
    found: Figures | None = None  # of a segmentor
    matches: Matches | None = None  # of a detector: of masks, where it makes them
    iou_type: str = ''
    truth: dict[str, Any] = field(default_factory=dict)  # of a detector
    kept: Path | None = None  # the folder that has its predictions, where it is not the work directory

    @property
    def folder(self) -> Path:
        """That has the predictions, under `evaluated.FOLDER`."""
        return self.kept or self.log.folder

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.matches.names) if self.matches else tuple(self.about.classes)

    @property
    def metric(self) -> str:
        return f'{self.iou_type} AP' if self.matches else 'mIoU'

    @property
    def pictures(self) -> list[str]:
        """The files that the metric is of, in its order: a segmentor's as they were tested, a detector's by rising id."""
        if self.matches is None:
            return self.about.pictures
        files = {image['id']: os.path.join(self.about.images, image['file_name']) for image in self.truth['images']}
        return [files[image] for image in self.matches.images]

    def pictures_with(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """(C,): how many have an object or a pixel of each class."""
        chosen = [self.classes.index(name) for name in classes]
        if self.matches is not None:
            return (self.matches.objects[chosen] > 0).sum(1)
        assert self.found is not None
        return (self.found.truth[:, chosen] > 0).sum(0)

    def by_class(self, classes: Sequence[str]) -> Metric:
        """The metric of some classes under any weighting of the pictures."""
        chosen = [self.classes.index(name) for name in classes]

        def of_pixels(weights: Floats) -> Floats:
            found = self.found
            assert found is not None
            truth, predicted, both = (weights @ one[:, chosen] for one in (found.truth, found.predicted, found.both))
            return iou(truth, predicted, both)

        def of_objects(weights: Floats) -> Floats:
            assert self.matches is not None
            return average_precisions(self.matches, weights)[0][:, chosen]

        return of_pixels if self.matches is None else of_objects

    def by_picture(self, classes: Sequence[str]) -> Floats:
        """(pictures,): each by itself: mIoU; of a detector, F1 of detections of a score of at least a half, at IoU 0.5."""
        if self.matches is None:
            assert self.found is not None
            chosen = [self.classes.index(name) for name in classes]
            truth, predicted, both = (one[:, chosen] for one in (self.found.truth, self.found.predicted, self.found.both))
            return mean_known(iou(truth, predicted, both), axis=1)
        right, said, objects = (np.zeros(len(self.matches.images)) for _ in range(3))
        for one in (self.matches.classes[self.classes.index(name)] for name in classes):
            objects += one.truths
            sure = (one.scores >= 0.5) & ~one.ignored[0]
            said += np.bincount(one.pictures[sure], minlength=len(said))
            right += np.bincount(one.pictures[sure & one.true[0]], minlength=len(said))
        return ratio(2 * right, said + objects)


def detected_of(folder: Path, about: About) -> Detected:
    """What is kept of a detector, in a work directory.

    Raises:
        InputError: for files that are gone or broken.
    """
    folder = folder / FOLDER
    try:
        truth, found = (json.loads((folder / name).read_text()) for name in (TRUTH, DETECTIONS))
    except (OSError, ValueError) as error:
        raise InputError(
            f'report: expected the kept detections whole in {folder}, got: {error}; --again predicts anew'
        ) from error
    return Detected(truth, found, Path(about.images), about.metrics, about.channels)


def detector_run(name: str, log: Log, about: About, kept: Path | None = None, iou_type: str | None = None) -> Run:
    """From what is kept: of masks where there are any, else of boxes; or of one of the two.

    Raises:
        InputError: for files that are gone or broken.
    """
    detected = detected_of(kept or log.folder, about)
    iou_type = iou_type or types_of(detected)[-1]
    return Run(name, log, about, None, class_matches(detected, iou_type), iou_type, detected.truth, kept)


def alike(first: Run, second: Run) -> tuple[Run, Run]:
    """Both by one metric: by boxes, where one of two detectors makes no masks.

    Raises:
        InputError: for models of two kinds, and boxes that are gone or broken.
    """
    if (first.matches is None) != (second.matches is None):
        kinds = ' and '.join(f'{run.about.kind} in {run.log.folder}' for run in (first, second))
        raise InputError(f'report: expected runs of one kind, got {kinds}; compare detectors, or segmentors')
    if first.iou_type == second.iou_type:
        return first, second
    one, other = (
        run if run.iou_type == BOXES else detector_run(run.name, run.log, run.about, run.kept, BOXES) for run in (first, second)
    )
    return one, other


def compare(first: Run, second: Run) -> Difference:
    """The second run minus the first, which are `alike`, in the classes that both have.

    Raises:
        InputError: where no class is in both.
    """
    classes = [name for name in first.classes if name in second.classes]
    if not classes:
        raise InputError(
            f'report: expected a class that both runs have, got none in {first.log.folder} and {second.log.folder}; '
            'compare runs of the same classes'
        )
    pair = first.by_class(classes), second.by_class(classes)
    numbers = len(first.pictures), len(second.pictures)
    having = np.minimum(first.pictures_with(classes), second.pictures_with(classes))
    return difference(first.metric, classes, *pair, numbers, having, what_differs(first, second, classes))


def what_differs(first: Run, second: Run, classes: Sequence[str]) -> str:
    """Why the pictures of two runs cannot be drawn together, in words; empty for the same files with the same truth."""
    files = [[os.path.realpath(one) for one in run.pictures] for run in (first, second)]
    if files[0] != files[1]:
        return PICTURES
    return '' if _truth(first, classes) == _truth(second, classes) else ANNOTATIONS


def _truth(run: Run, classes: Sequence[str]) -> list[Any]:
    """What tells one truth from another: pixels of each picture and class, or boxes with their areas."""
    if run.matches is None:
        assert run.found is not None
        return run.found.truth[:, [run.classes.index(name) for name in classes]].tolist()
    place = {image: index for index, image in enumerate(run.matches.images)}
    names = {one['id']: classes.index(one['name']) for one in run.truth['categories'] if one['name'] in classes}
    rows = [
        (place[one['image_id']], names[one['category_id']], *one.get('bbox', ()), one.get('area', 0), one.get('iscrowd', 0))
        for one in run.truth['annotations']
        if one['category_id'] in names
    ]
    return sorted(rows)
