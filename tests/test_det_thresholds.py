"""The score of the best F1, and which class is taken for which."""

import numpy as np
import pytest
from det_sets import by_hand, made_up

from convnext_dense.report.det_matches import Detected, class_matches
from convnext_dense.report.det_thresholds import Threshold, confusion, thresholds

A, B, C, NOWHERE = (0, 0, 10, 10), (50, 50, 10, 10), (20, 60, 10, 10), (80, 0, 10, 10)
CAT, DOG = 0, 1


def best(detected: Detected) -> Threshold:
    return thresholds(class_matches(detected, 'bbox'))[CAT]


def confused(detected: Detected, *least: float) -> list[list[int]]:
    return confusion(detected, 'bbox', class_matches(detected, 'bbox'), least).tolist()


def test_the_highest_f1() -> None:
    """F1 with 1, 2, 3 and 4 kept of 3 objects: 2/4, 2/5, 4/6, 4/7."""
    truths = [(0, CAT, A), (0, CAT, B), (0, CAT, C)]
    found = [(0, CAT, A, 0.9), (0, CAT, NOWHERE, 0.8), (0, CAT, B, 0.7), (0, CAT, NOWHERE, 0.6)]
    assert best(by_hand(truths, found)) == pytest.approx((0.7, 2 / 3, 2 / 3, 2 / 3))


def test_equal_scores_are_kept_together() -> None:
    """Of 0.9 alone F1 is 2/3; with all three of 0.8 it is 4/6, the same, so that the higher score is taken."""
    truths = [(0, CAT, A), (0, CAT, B)]
    found = [(0, CAT, A, 0.9), (0, CAT, B, 0.8), (0, CAT, NOWHERE, 0.8), (0, CAT, NOWHERE, 0.8)]
    assert best(by_hand(truths, found)) == pytest.approx((0.9, 1, 1 / 2, 2 / 3))
    assert best(by_hand(truths, found[:3])) == pytest.approx((0.8, 2 / 3, 1, 4 / 5))


def test_none_is_kept_where_none_finds_an_object() -> None:
    for found in ([], [(0, CAT, NOWHERE, 0.9)]):
        one = best(by_hand([(0, CAT, A)], found))
        assert one.score == np.inf and np.isnan(one.precision) and one.recall == one.f1 == 0
        one = best(by_hand([], found))
        assert one.score == np.inf and np.isnan(one[1:]).all()


def test_detections_in_crowds_do_not_count() -> None:
    truths = [(0, CAT, A), (0, CAT, (40, 20, 30, 30), 'crowd')]
    assert best(by_hand(truths, [(0, CAT, (45, 25, 9, 9), 0.9), (0, CAT, A, 0.8)])) == (0.8, 1, 1, 1)


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_no_other_score_is_better(iou_type: str) -> None:
    matches = class_matches(made_up(6, images=20, digits=1), iou_type)
    for one, found in zip(thresholds(matches), matches.classes):
        counted = ~found.ignored[0]
        for score in np.unique(found.scores):
            kept = counted & (found.scores >= score)
            hits = found.true[0][kept].sum()
            f1 = 2 * hits / (kept.sum() + found.truths.sum())
            assert f1 < one.f1 or score <= one.score or not hits
            if score == one.score:
                assert (one.f1, one.precision) == pytest.approx((f1, hits / kept.sum()))


def test_confusion() -> None:
    """A dog where a cat is, a cat found, one missed, a false dog, and one below its class's score."""
    truths = [(0, CAT, A), (0, CAT, B), (1, CAT, C), (1, DOG, A)]
    found = [(0, DOG, A, 0.9), (0, CAT, B, 0.8), (0, DOG, NOWHERE, 0.7), (1, CAT, C, 0.4), (1, DOG, A, 0.95)]
    detected = by_hand(truths, found, images=2)
    assert confused(detected, 0.5, 0.7) == [[1, 1, 1], [0, 1, 0], [0, 1, 0]]
    assert confused(detected, 0.4, np.inf) == [[2, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_an_object_is_taken_once_and_crowds_take_their_class() -> None:
    crowd = (40, 20, 30, 30)
    truths = [(0, CAT, A), (0, CAT, crowd, 'crowd')]
    found = [(0, CAT, A, 0.9), (0, DOG, A, 0.8), (0, CAT, (45, 25, 9, 9), 0.7), (0, DOG, (45, 25, 9, 9), 0.6)]
    assert confused(by_hand(truths, found), 0, 0) == [[1, 0, 0], [0, 0, 0], [0, 2, 0]]


def test_the_table_counts_every_object_and_detection() -> None:
    detected = made_up(7, images=30, names=tuple('abcdefghij'))
    for iou_type in ('bbox', 'segm'):
        matches = class_matches(detected, iou_type)
        table = confusion(detected, iou_type, matches, [0.3] * 10)
        assert table[:-1].sum(1).tolist() == matches.objects.sum(1).tolist() and table[-1, -1] == 0
        kept = [int((one.scores >= 0.3).sum()) for one in matches.classes]
        assert all(0 <= count - found <= 12 for count, found in zip(kept, table[:, :-1].sum(0)))  # without those in crowds
    assert confused(by_hand([], []), 0, 0) == [[0] * 3] * 3
