"""Predictions drawn over pictures."""

import matplotlib
import numpy as np
import pytest
import torch
from models import photograph
from results import PALETTE, detected, segmented
from torchvision.utils import draw_bounding_boxes

from convnext_dense.predict import draw
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


@pytest.mark.parametrize('height, width', [(20, 30), (600, 900)])
def test_boxes_and_words_are_torchvisions(height: int, width: int) -> None:
    boxes = np.array([[3.9, 2.2, width / 2, height - 3.1], [width / 3, 8, width + 9, height / 2]], np.float32)
    result = detected(bgr=photograph(height, width)[..., ::-1], boxes=boxes, mask_data=None)
    colours = [PALETTE[label] for label in result.labels]
    theirs = draw_bounding_boxes(
        torch.from_numpy(result.image.copy()).permute(2, 0, 1),
        torch.from_numpy(boxes),
        ['dog 0.90', 'cat 0.50'],
        colours,
        width=max(max(height, width) // 300, 1),
        font=f'{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf',
        font_size=max(max(height, width) // 50, 10),
        label_colors=['black', 'white'],
        label_background_colors=colours,
        fill_labels=True,
    )
    assert np.array_equal(drawn(result), theirs.permute(1, 2, 0).numpy())


def test_words_where_there_is_no_font(monkeypatch) -> None:
    """Without matplotlib and a system's fonts, in Pillow's own."""
    monkeypatch.setattr(draw, 'find_spec', lambda name: None)
    monkeypatch.setattr(draw, 'FONT', 'nowhere.ttf')
    draw._font.cache_clear()
    try:
        found = drawn(detected())
    finally:
        draw._font.cache_clear()
    monkeypatch.undo()
    assert found.shape == (20, 30, 3) and not np.array_equal(found, drawn(detected()))


def test_nothing_found_leaves_the_picture() -> None:
    nothing = detected(
        boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0), labels=np.zeros(0, int), mask_data=np.zeros((0, 20, 30), bool)
    )
    assert np.array_equal(drawn(nothing), nothing.image)


def test_a_box_that_is_empty_or_outside() -> None:
    boxes = np.array([[5, 5, 5, 5], [-3, -2, 40, 50]], np.float32)
    assert drawn(detected(boxes=boxes)).shape == (20, 30, 3)
