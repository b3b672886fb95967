"""Counts of predicted pixels by hand, along boundaries by another way, by the size of regions."""

import cv2
import numpy as np
import pytest

from convnext_dense.report.seg_counts import BOUNDARY, SIZES, count


def by_hand() -> tuple[np.ndarray, np.ndarray]:
    """Two classes and a pixel of none; two of five pixels of class 0 are taken for class 1."""
    truth = np.array([[0, 0, 0, 0, 0], [1, 1, 1, 1, 255]], np.uint8)
    predicted = np.array([[0, 0, 0, 1, 1], [1, 1, 1, 1, 0]], np.uint8)
    return truth, predicted


def test_by_hand() -> None:
    found = count(*by_hand(), 3)
    assert found.truth.tolist() == [5, 4, 0] and found.predicted.tolist() == [3, 6, 0] and found.both.tolist() == [3, 4, 0]
    assert found.pairs.tolist() == [[0, 0, 3], [0, 1, 2], [1, 1, 4]]
    np.testing.assert_allclose(found.ious, [3 / 5, 4 / 6, np.nan])
    assert found.miou == pytest.approx((3 / 5 + 4 / 6) / 2)


def test_nothing_annotated() -> None:
    found = count(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8), 2)
    assert np.isnan(found.miou) and not found.edge.any() and not found.sizes.any() and len(found.pairs) == 0


def blobs(seed: int, classes: int = 4, height: int = 90, width: int = 120) -> np.ndarray:
    values = np.random.default_rng(seed).random((height // 15, width // 15), np.float32)
    return (cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 0.999) * classes).astype(np.uint8)


def band(mask: np.ndarray, width: int) -> np.ndarray:
    """The paper's way: a class by itself, eroded by a 3x3 square so many times, with nothing beyond the picture."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return mask & ~cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1].astype(bool)


def test_boundaries_of_all_classes_at_once_are_those_of_each() -> None:
    truth, predicted = blobs(0), blobs(1)
    found = count(truth, predicted, 4)
    width = round(BOUNDARY * np.hypot(*truth.shape))
    for label in range(4):
        t, p = band(truth == label, width), band(predicted == label, width)
        assert found.edge[:, label].tolist() == [t.sum(), p.sum(), (t & p).sum()]


def test_where_the_truth_has_no_class_no_boundary_is_missed() -> None:
    """A void ring around objects, as in Pascal VOC: what is right everywhere else is right along boundaries, too."""
    predicted = blobs(0)
    truth = predicted.copy()
    truth[cv2.morphologyEx(predicted, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0] = 255
    truth[:, 40:48] = 255
    found = count(truth, predicted, 4)
    assert (found.edge[0] == found.edge[1]).all() and (found.edge[0] == found.edge[2]).all() and found.edge.any()


def test_sizes_add_up_to_all() -> None:
    truth, predicted = blobs(2), blobs(3)
    found = count(truth, predicted, 4)
    there = found.truth > 0
    assert (found.sizes[:, 0].sum(0) == found.truth).all() and (found.sizes[:, 2].sum(0) == found.both).all()
    assert (found.sizes[:, 1].sum(0)[there] == found.predicted[there]).all()


def test_a_wrong_pixel_counts_for_the_nearest_region() -> None:
    truth = np.zeros((200, 300), np.uint8)
    truth[10:20, 10:20] = 1  # small
    truth[50:150, 150:260] = 1  # large
    predicted = truth.copy()
    predicted[20:24, 10:20] = 1  # below the small one
    predicted[60:70, 261:266] = 1  # right of the large one
    predicted[10:12, 10:20] = 0
    small, medium, large = count(truth, predicted, 2).sizes[:, :, 1].tolist()
    assert SIZES == ('small', 'medium', 'large')
    assert small == [100, 80 + 40, 80] and medium == [0, 0, 0] and large == [11000, 11000 + 50, 11000]


def test_of_many_classes() -> None:
    truth = np.array([[300, 301], [300, 65535]], np.uint16)
    found = count(truth, truth % 302, 302)
    assert found.both[[300, 301]].tolist() == [2, 1] and found.miou == 1
