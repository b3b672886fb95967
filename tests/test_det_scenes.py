"""Pictures with their objects and detections, and their overlaps."""

import numpy as np
import pytest
from det_sets import FIRST, by_hand, made_up

from convnext_dense.report.det_scenes import Shapes, scenes

A, B, HALF = (0, 0, 10, 10), (50, 50, 10, 10), (0, 0, 10, 5)


def test_pictures_in_the_order_of_the_file_and_detections_by_score() -> None:
    truths = [(1, 0, A), (0, 0, B, 'crowd'), (1, 1, B), (0, 1, A)]
    found = [(1, 0, A, 0.5), (1, 1, A, 0.7), (0, 0, A, 0.1), (1, 0, B, 0.5)]
    detected = by_hand(truths, found, images=3)
    detected.truth['images'].reverse()
    assert [(one.image['id'] - FIRST, *one[1:]) for one in scenes(detected, 'bbox')] == [
        (2, [], [], []),
        (1, [0, 2], [], [1, 0, 3]),
        (0, [3], [1], [2]),
    ]


def test_overlaps() -> None:
    shapes = Shapes(by_hand([(0, 0, A), (0, 0, B)], [(0, 0, HALF, 0.9)]), 'bbox')
    assert shapes.overlaps([0], [0, 1]).tolist() == [[0.5, 0]]
    assert shapes.overlaps([0], [0], crowds=True).tolist() == [[1]]
    assert shapes.between([0, 1]).tolist() == [[1, 0], [0, 1]]
    assert shapes.overlaps([], [0, 1]).shape == (0, 2) and shapes.overlaps([0], []).shape == (1, 0)
    assert shapes.truth_box(1) == (50, 50, 60, 60) and shapes.found_box(0) == (0, 0, 10, 5)


@pytest.mark.parametrize('row', range(5))
def test_masks_are_outlines_or_run_lengths(row: int) -> None:
    detected = made_up(4)
    shapes, masks = Shapes(detected, 'segm'), detected.detections['segm']
    item = detected.truth['annotations'][row]
    masks.append(dict(image_id=item['image_id'], category_id=item['category_id'], score=1.0))
    from pycocotools import mask as coco_mask

    outline = item['segmentation']
    encoded = coco_mask.frPyObjects(outline, 80, 100)[0] if isinstance(outline, list) else outline
    masks[-1]['segmentation'] = encoded
    assert shapes.overlaps([len(masks) - 1], [row])[0, 0] == 1
    box = np.array(shapes.found_box(len(masks) - 1))
    np.testing.assert_allclose(box, shapes.truth_box(row), atol=1.5)  # of whole pixels
