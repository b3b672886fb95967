"""Figures by class, size, crowding and overlap: of hand-made cases, and against the evaluator's own."""

import numpy as np
import pytest
from det_sets import by_hand, made_up

from convnext_dense.detection.coco_metric import STATS, coco_stats
from convnext_dense.report.det_figures import by_class, by_crowding, by_overlap, by_size, curves
from convnext_dense.report.det_matches import class_matches
from convnext_dense.report.known import mean_known

A, B, C = (0, 0, 20, 20), (40, 20, 30, 30), (0, 50, 20, 20)


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_means_are_the_evaluators(iou_type: str) -> None:
    detected = made_up(5, images=20)
    for item in detected.truth['annotations'][::2]:
        item['area'] *= 12  # some large ones
    stats, _ = coco_stats(detected.truth, detected.detections[iou_type], iou_type)
    named = dict(zip(STATS, stats))
    matches = class_matches(detected, iou_type)
    rows = by_class(matches)
    assert [row.name for row in rows] == ['cat', 'dog', 'bird', 'none'] and rows[-1].objects == 0
    assert mean_known([row.ap for row in rows]) == pytest.approx(named['mAP'], abs=1e-12)
    assert mean_known([row.ap50 for row in rows]) == pytest.approx(named['mAP_50'], abs=1e-12)
    sizes = by_size(matches, detected.truth)
    assert [size.ap for size in sizes] == pytest.approx([named['mAP_s'], named['mAP_m'], named['mAP_l']], abs=1e-12)
    lines = curves(matches)
    assert lines.classes.shape == (2, 4, 101) and np.isnan(lines.classes[:, 3]).all()
    assert lines.mean.mean(1).tolist() == pytest.approx([named['mAP_50'], named['mAP_75']], abs=1e-12)


def test_sizes_count_objects_and_not_crowds() -> None:
    truths = [(0, 0, (0, 0, 32, 32)), (0, 1, (0, 0, 40, 40)), (1, 0, (0, 0, 9, 9)), (1, 0, (0, 0, 9, 9), 'crowd')]
    detected = by_hand(truths, [(1, 0, (0, 0, 9, 9), 0.5)], images=2)
    small, medium, large = by_size(class_matches(detected, 'bbox'), detected.truth)
    assert (small.objects, small.pictures, medium.objects, large.objects) == (2, 2, 2, 0)  # 32 x 32 is in both, as in COCO
    assert small.ap50 == pytest.approx(51 / 101) and medium.ap50 == 0 and np.isnan(large.ap)


def test_crowding() -> None:
    """Of 1, 1, 2 and 3 objects: all are found in the first two pictures, none in the third, one in the fourth."""
    truths = [(0, 0, A), (1, 0, A), (2, 0, A), (2, 0, B), (3, 0, A), (3, 0, B), (3, 0, C)]
    found = [(0, 0, A, 0.9), (1, 0, A, 0.9), (3, 0, A, 0.9), (4, 0, A, 1.0)]
    rows = by_crowding(class_matches(by_hand(truths, found, images=5), 'bbox'))
    assert [row[:3] for row in rows] == [('1', 2, 2), ('2', 1, 2), ('3', 1, 3)]
    assert [row.ap50 for row in rows] == pytest.approx([1, 0, 34 / 101])
    many = [(image, 0, A) for image, count in enumerate((1, 2, 5, 9, 20, 21, 40)) for _ in range(count)]
    rows = by_crowding(class_matches(by_hand(many, [], images=7), 'bbox'))
    assert [(row.name, row.pictures) for row in rows] == [('1 to 2', 2), ('3 to 9', 2), ('10 to 21', 2), ('22 to 40', 1)]
    assert by_crowding(class_matches(by_hand([], found[:1]), 'bbox')) == []


def test_recall_by_overlap_with_the_nearest_object() -> None:
    """IoU of two boxes of 20 pixels, `by` pixels apart: (20 - by) / (20 + by), so 18: 0.05, 15: 0.14, 5: 0.6."""
    truths = [(0, 0, A), (0, 0, C), (1, 0, A), (1, 1, (18, 0, 20, 20)), (2, 0, A), (2, 0, (15, 0, 20, 20))]
    truths += [(3, 0, A), (3, 1, (5, 0, 20, 20)), (4, 0, A), (4, 0, A, 'crowd')]
    found = [(0, 0, A, 0.9), (1, 0, A, 0.4), (1, 1, (18, 0, 20, 20), 0.9), (3, 0, A, 0.2)]
    detected = by_hand(truths, found, images=5)
    rows = by_overlap(detected, class_matches(detected, 'bbox'), [0.3, np.inf])
    assert [row.objects for row in rows] == [3, 2, 2, 2]
    assert [row.recall for row in rows] == pytest.approx([1 / 3, 1, 0, 1 / 2])
    assert [row.recall_kept for row in rows] == pytest.approx([1 / 3, 1 / 2, 0, 0])


def test_nothing_there() -> None:
    detected = by_hand([], [(0, 0, A, 0.5)])
    matches = class_matches(detected, 'bbox')
    assert all(np.isnan(row.ap) for row in (*by_class(matches), *by_size(matches, detected.truth)))
    assert np.isnan(curves(matches).mean).all()
    assert all(row.objects == 0 and np.isnan(row.recall) for row in by_overlap(detected, matches, [0, 0]))


def test_mean_of_what_is_known() -> None:
    assert mean_known([1, np.nan, 2]) == 1.5 and np.isnan(mean_known([np.nan])) and np.isnan(mean_known([]))
    np.testing.assert_array_equal(mean_known([[1, np.nan], [3, np.nan]], axis=0), [2, np.nan])
