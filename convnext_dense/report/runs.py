"""Runs that are compared: their logs, what their models said, and the metric that both are known by."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convnext_dense.errors import InputError
from convnext_dense.report.det_matches import Detected, Matches, average_precisions, class_matches, types_of
from convnext_dense.report.evaluated import DETECTIONS, FOLDER, TRUTH, About
from convnext_dense.report.known import iou, mean_known, ratio
from convnext_dense.report.log import Log
from convnext_dense.report.paired import Difference, Floats, Metric, difference
from convnext_dense.report.seg_figures import Figures


@dataclass
class Run:
    """A work directory, evaluated."""

    name: str
    log: Log
    about: About
    found: Figures | None = None  # of a segmentor
    matches: Matches | None = None  # of a detector: of masks, where it makes them
    iou_type: str = ''

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.matches.names) if self.matches else tuple(self.about.classes)

    @property
    def metric(self) -> str:
        return f'{self.iou_type} AP' if self.matches else 'mIoU'

    @property
    def pictures(self) -> list[str]:
        """Of which the metric is, in its order."""
        if self.matches is None:
            return self.about.pictures
        return [str(image) for image in self.matches.images]

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
        right, said = (np.zeros(len(self.matches.images)) for _ in range(2))
        for one in self.matches.classes:
            sure = (one.scores >= 0.5) & ~one.ignored[0]
            said += np.bincount(one.pictures[sure], minlength=len(said))
            right += np.bincount(one.pictures[sure & one.true[0]], minlength=len(said))
        return ratio(2 * right, said + self.matches.objects.sum(0))


def detected_of(work_dir: Path, about: About) -> Detected:
    """What is kept of a detector.

    Raises:
        InputError: for files that are gone or broken.
    """
    folder = work_dir / FOLDER
    try:
        truth, found = (json.loads((folder / name).read_text()) for name in (TRUTH, DETECTIONS))
    except (OSError, ValueError) as error:
        raise InputError(
            f'report: expected the kept detections whole in {folder}, got: {error}; --again predicts anew'
        ) from error
    return Detected(truth, found, Path(about.images), about.metrics, about.channels)


def matches_of(detected: Detected) -> tuple[Matches, str]:
    """Of masks where there are any, else of boxes; and which."""
    iou_type = types_of(detected)[-1]
    return class_matches(detected, iou_type), iou_type


def compare(first: Run, second: Run) -> Difference:
    """The second run minus the first, in the classes that both have.

    Raises:
        InputError: for models of two kinds, and where no class is in both.
    """
    if (first.matches is None) != (second.matches is None):
        kinds = ' and '.join(f'{run.about.kind} in {run.log.folder}' for run in (first, second))
        raise InputError(f'report: expected runs of one kind, got {kinds}')
    if first.metric != second.metric:
        raise InputError(f'report: expected runs of one metric, got {first.metric} and {second.metric}; one makes no masks')
    classes = [name for name in first.classes if name in second.classes]
    if not classes:
        raise InputError(
            f'report: expected a class that both runs have, got none in {first.log.folder} and {second.log.folder}'
        )
    pair = first.by_class(classes), second.by_class(classes)
    numbers = len(first.pictures), len(second.pictures)
    return difference(first.metric, classes, *pair, numbers, same_pictures(first, second))


def same_pictures(first: Run, second: Run) -> bool:
    """Whether both are of the same files in the same order."""
    if first.pictures != second.pictures and first.matches is not None:
        return False
    return [os.path.realpath(one) for one in first.about.pictures] == [os.path.realpath(one) for one in second.about.pictures]
