"""Detection in tiles and on the whole picture: each object once, those at seams whole."""

from dataclasses import replace

import numpy as np
import pytest

from convnext_dense.predict.patch import Patch, patch_of
from convnext_dense.predict.tile_detector import Objects, detect, merged, moved, scaled
from convnext_dense.predict.tiles import Tiling, View
from convnext_dense.predict.windows import InMemory


def scene(*boxes, size=(256, 384)) -> np.ndarray:
    """Rectangles of their own grey (from 50 up) on black, as left, top, right, bottom."""
    picture = np.zeros((*size, 3), np.uint8)
    for i, (left, top, right, bottom) in enumerate(boxes):
        picture[top:bottom, left:right] = 50 + i
    return picture


def perfect(masks: bool = True, least: int = 1, label: int = 0):
    """A detector that finds what it sees of every rectangle, if that has `least` pixels; larger ones have higher scores."""

    def find(window: np.ndarray) -> Objects:
        found = []
        for value in np.unique(window[window >= 50]):
            mask = window[..., 0] == value
            if mask.sum() >= least:
                patch = patch_of(mask)
                h, w = patch.mask.shape
                found.append(([patch.left, patch.top, patch.left + w, patch.top + h], min(0.2 + mask.sum() / 1e5, 1), patch))
        boxes = np.array([box for box, _, _ in found], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score, _ in found], np.float32)
        labels = np.full(len(found), label, np.int64)
        return Objects(boxes, scores, labels, [patch for _, _, patch in found] if masks else None)

    return find


@pytest.mark.parametrize('masks', [True, False])
def test_objects_in_a_tile_within_an_overlap_and_cut_by_seams_come_out_once(masks: bool) -> None:
    boxes = [
        (10, 10, 30, 40),  # in one tile
        (100, 20, 120, 40),  # where two overlap
        (70, 60, 150, 90),  # over the seam of two
        (200, 100, 320, 200),  # over four and more
        (5, 220, 380, 240),  # over all of them
    ]
    picture = InMemory(scene(*boxes))
    found = detect(perfect(masks), picture, Tiling(128))
    assert sorted(map(tuple, found.boxes.astype(int).tolist())) == sorted(boxes)
    assert np.all(np.diff(found.scores) <= 0) and (found.patches is not None) == masks
    for box, patch in zip(found.boxes.astype(int), found.patches or ()):
        expected = np.zeros(picture.size, bool)
        expected[box[1] : box[3], box[0] : box[2]] = True
        assert np.array_equal(patch.on(picture.size), expected)


@pytest.mark.parametrize('masks', [True, False])
def test_a_seam_is_mended_without_the_whole_picture(masks: bool) -> None:
    """One object over three tiles, of which none sees all."""
    picture = InMemory(scene((20, 50, 300, 70)))
    views = Tiling(128).views(picture.size)
    found = [moved(perfect(masks)(picture.read(*view)), view.top, view.left) for view in views]
    one = merged(found, views, picture.size)
    assert one.boxes.astype(int).tolist() == [[20, 50, 300, 70]]
    assert not masks or one.patches[0].area == 280 * 20


def test_neighbours_of_a_class_stay_apart() -> None:
    boxes = [(90, 20, 110, 60), (112, 20, 134, 60), (90, 62, 134, 80)]
    found = detect(perfect(), InMemory(scene(*boxes)), Tiling(128))
    assert sorted(map(tuple, found.boxes.astype(int).tolist())) == sorted(boxes)


def test_classes_are_not_merged() -> None:
    view = View(0, 0, 100, 100)
    box = np.array([[10, 10, 50, 50]], np.float32)
    one, other = (Objects(box, np.array([0.5], np.float32), np.array([label]), None) for label in (0, 1))
    assert len(merged([one, other], [view, view], (100, 100))) == 2
    assert len(merged([one, one], [view, view], (100, 100))) == 1


def test_a_small_object_before_a_large_one_is_another() -> None:
    views = [View(0, 0, 100, 100), View(0, 0, 100, 200)]
    small = Objects(np.array([[10, 10, 30, 30]], np.float32), np.array([0.9], np.float32), np.zeros(1, int), None)
    large = Objects(np.array([[0, 0, 190, 90]], np.float32), np.array([0.6], np.float32), np.zeros(1, int), None)
    assert merged([small, large], views, (100, 200)).boxes.tolist() == [[10, 10, 30, 30], [0, 0, 190, 90]]
    masks = [
        replace(one, patches=[Patch(*one.boxes[0, [1, 0]].astype(int).tolist(), np.ones(shape, bool))])
        for one, shape in ((small, (20, 20)), (large, (90, 190)))
    ]
    assert len(merged(masks, views, (100, 200))) == 2


def test_a_view_does_not_merge_its_own() -> None:
    """What the model's own suppression has left in one view is left."""
    boxes = np.array([[10, 10, 50, 50], [12, 10, 50, 50]], np.float32)
    both = Objects(boxes, np.array([0.5, 0.4], np.float32), np.zeros(2, int), None)
    assert len(merged([both], [View(0, 0, 100, 100)], (100, 100))) == 2


def test_the_whole_finding_of_the_highest_score_is_taken() -> None:
    views = [View(0, 0, 100, 100), View(0, 0, 100, 200)]
    cut = Objects(np.array([[60, 10, 100, 50]], np.float32), np.array([0.9], np.float32), np.zeros(1, int), None)
    all_of_it = Objects(np.array([[61, 11, 140, 50]], np.float32), np.array([0.6], np.float32), np.zeros(1, int), None)
    found = merged([cut, all_of_it], views, (100, 200))
    assert found.boxes.tolist() == [[61, 11, 140, 50]] and found.scores.tolist() == [np.float32(0.9)]


def test_small_objects_are_found_in_tiles_and_large_ones_on_the_whole() -> None:
    """A detector of objects from 8 pixels a side, on a picture that the whole view reduces to a quarter."""
    boxes = [(100, 100, 112, 112), (2000, 3000, 6000, 5000)]
    picture = InMemory(scene(*boxes, size=(8192, 8192)))
    found = detect(perfect(least=64), picture, Tiling(2048))
    assert len(found) == 2
    large, small = found.boxes[np.argsort(found.boxes[:, 2] - found.boxes[:, 0])[::-1]]
    assert np.abs(large - boxes[1]).max() <= 4 and small.tolist() == list(boxes[0])


def test_a_picture_of_one_tile_is_seen_once() -> None:
    calls = []
    find = perfect()
    detect(lambda window: calls.append(window.shape) or find(window), InMemory(scene(size=(60, 70))), Tiling(128))
    assert calls == [(60, 70, 3)]


@pytest.mark.parametrize('masks', [True, False])
def test_nothing_found(masks: bool) -> None:
    found = detect(perfect(masks), InMemory(scene()), Tiling(128))
    assert len(found) == 0 and found.boxes.shape == (0, 4) and found.patches == ([] if masks else None)


def test_scaling() -> None:
    objects = Objects(np.array([[2, 4, 6, 8]], np.float32), np.ones(1), np.zeros(1, int), [Patch(4, 2, np.eye(4, dtype=bool))])
    found = scaled(objects, 2, 3)
    assert found.boxes.tolist() == [[6, 8, 18, 16]] and (found.patches[0].top, found.patches[0].left) == (8, 6)
    assert np.array_equal(found.patches[0].mask, np.kron(np.eye(4), np.ones((2, 3))).astype(bool))
    assert scaled(objects, 1, 1) is objects
