"""Predictions drawn over pictures."""

import numpy as np
from results import PALETTE, detected, segmented

from convnext_dense.predict.draw import coloured, drawn
from convnext_dense.predict.result import NOTHING


def test_classes_are_blended_with_the_picture() -> None:
    result = segmented()
    found = drawn(result)
    expected = (result.image.astype(float) + np.array(PALETTE)[result.mask]) / 2
    assert np.abs(found - expected).max() <= 0.5


def test_pixels_without_a_class_stay() -> None:
    mask = np.full((20, 30), NOTHING, np.uint8)
    image = np.ascontiguousarray(segmented().image)
    assert np.array_equal(coloured(image, mask, PALETTE), image)


def test_objects_have_masks_boxes_and_words() -> None:
    result = detected()
    found = drawn(result)
    assert found.shape == (20, 30, 3) and found.dtype == np.uint8
    assert tuple(found[2, 12]) == PALETTE[1] and tuple(found[8, 24]) == PALETTE[0]  # on the boxes' upper edges
    assert np.array_equal(found[:, :3], result.image[:, :3])  # left of both
    assert not np.array_equal(found, drawn(detected(masks=False)))


def test_masks_are_blended_the_highest_score_on_top() -> None:
    boxes = np.array([[0, 0, 1, 1]] * 2, np.float32)
    plain, found = (drawn(detected(boxes=boxes, **more)).astype(int) for more in (dict(mask_data=None), {}))
    dog, cat = detected().masks
    colours = np.where(dog[..., None], PALETTE[1], PALETTE[0])
    expected = np.where((dog | cat)[..., None], (plain + colours) / 2, plain)
    changed = (found != plain).any(2)
    assert changed.any() and not (changed & ~(dog | cat)).any()
    assert np.abs(found - expected)[changed].max() <= 1


def test_nothing_found_leaves_the_picture() -> None:
    nothing = detected(
        boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0), labels=np.zeros(0, int), mask_data=np.zeros((0, 20, 30), bool)
    )
    assert np.array_equal(drawn(nothing), nothing.image)


def test_a_box_that_is_empty_or_outside() -> None:
    boxes = np.array([[5, 5, 5, 5], [-3, -2, 40, 50]], np.float32)
    assert drawn(detected(boxes=boxes)).shape == (20, 30, 3)
