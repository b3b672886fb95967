"""What a file gives beside what PyTorch gives: rounding is within, anything else is not."""

import re
from typing import Any

import numpy as np
import pytest

from convnext_dense.export.parity import Limits, compare_objects, compare_segments

SIZE = (40, 60)


def segments() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 5, (1, 100, 150)), rng.normal(size=(1, 5, 25, 38)).astype(np.float32)]


@pytest.mark.parametrize(
    ('logit', 'pixels', 'within'), [(0, 0, True), (9e-5, 1, True), (3e-4, 0, False), (0, 2, False), (np.nan, 0, False)]
)
def test_segments(logit: float, pixels: int, within: bool) -> None:
    theirs = segments()
    classes, logits = (part.copy() for part in theirs)
    logits[0, 0, 0, 0] += logit * np.abs(logits).max()
    classes[0, 0, :pixels] += 1
    found = compare_segments('one', (100, 150), [classes, logits], theirs)
    assert found.within is within and (found.picture, found.height, found.width) == ('one', 100, 150)
    assert found.pixels == 1 - pixels / 15000
    assert found.row()['pixels'] == found.pixels and 'of the pixels are equal' in str(found)


def test_another_shape() -> None:
    theirs = segments()
    assert not compare_segments('one', SIZE, [theirs[0][:, :-1], theirs[1]], theirs).within
    assert not compare_segments('one', SIZE, [theirs[0], theirs[1][:, :-1]], theirs).within


def objects(full: bool = True) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three objects in five places by a file, and the same by PyTorch."""
    boxes = np.array([[5, 5, 25, 30], [10, 3, 50, 38], [5, 5, 25, 30]], np.float32)
    scores, labels = np.array([0.9, 0.8, 0.3], np.float32), np.array([1, 0, 2])
    masks = np.zeros((3, *SIZE), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int)):
        mask[top:bottom, left:right] = True
    ours: list[Any] = [np.zeros((1, 5, 4), np.float32), np.zeros((1, 5), np.float32), np.full((1, 5), -1)]
    ours.append(np.zeros((1, 5, *SIZE), np.uint8) if full else np.zeros((1, 5, 28, 28), np.float32))
    ours[0][0, :3], ours[1][0, :3], ours[2][0, :3], ours[3][0, :3] = boxes, scores, labels, masks if full else 1.0
    return ours, [boxes, scores, labels, masks]


def compare(ours: list[np.ndarray], theirs: list[np.ndarray], score: float = 0.05, count: int = 5):
    return compare_objects('one', SIZE, ours, theirs, Limits(score, count, 0.5))


@pytest.mark.parametrize('full', [True, False])
def test_equal_objects(full: bool) -> None:
    found = compare(*objects(full))
    assert found.within and (found.objects, found.unmatched, found.boxes, found.masks) == (3, 0, 0.0, 0.0)


def test_equal_scores_in_another_order() -> None:
    ours, theirs = objects()
    for part in ours:
        part[0, :3] = part[0, [2, 0, 1]]
    found = compare(ours, theirs)
    assert found.within and found.masks == 0


@pytest.mark.parametrize(
    ('part', 'place', 'value', 'word'),
    [
        (0, (0, 0, 0), 5.02, 'boxes differ by 2.0e-02 pixels'),
        (1, (0, 0), 0.902, 'scores by 2.0e-03'),
        (2, (0, 0), 0, '2 of either have no counterpart'),
        (2, (0, 0), -1, '1 of either have no counterpart'),
        (3, (0, 1, 0, 0), 1, r'masks by 4\.76\d+% of'),
    ],
)
def test_objects_that_differ(part: int, place: tuple, value: float, word: str) -> None:
    ours, theirs = objects()
    ours[part][place] = value
    if part == 3:
        ours[3][0, 1, :2] = 1  # two rows
    found = compare(ours, theirs)
    assert not found.within
    assert re.search(word, str(found)), str(found)


@pytest.mark.parametrize(('score', 'count', 'within'), [(0.2995, 5, True), (0.05, 3, True), (0.05, 5, False), (0.2, 5, False)])
def test_one_less_at_the_end_of_the_list(score: float, count: int, within: bool) -> None:
    """Rounding decides about scores at the least one, and about the last ones of a full list; about no others."""
    ours, theirs = objects()
    ours[2][0, 2] = -1
    assert compare(ours, theirs, score, count).within is within
    ours[2][0, 1] = -1  # of score 0.8
    assert not compare(ours, theirs, score, count).within


def test_nothing_found_by_one_or_both() -> None:
    ours, theirs = objects()
    nothing = [part[:0] for part in theirs]
    assert not compare(ours, nothing).within
    ours[2][:] = -1
    assert compare(ours, nothing).within and compare(ours, nothing).objects == 0
    assert not compare(ours, theirs).within
    assert not compare(ours, [part[:1] for part in theirs]).within


def test_the_only_object_elsewhere() -> None:
    ours, theirs = objects()
    ours[2][0, 1:] = -1
    theirs = [part[:1] for part in theirs]
    assert compare(ours, theirs).within
    ours[0][0, 0] += 3
    assert not compare(ours, theirs).within and compare(ours, theirs).unmatched == 2


def test_masks_of_another_size() -> None:
    ours, theirs = objects()
    ours[3] = ours[3][..., :-1]
    assert compare(ours, theirs).masks == 1.0 and not compare(ours, theirs).within
