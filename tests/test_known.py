"""Shares and means where nothing is known, and where some is; warnings are errors here."""

import numpy as np

from convnext_dense.report.known import iou, mean_known, ratio

NAN = float('nan')


def test_ratio_of_nothing_is_no_number() -> None:
    assert np.isnan(ratio(np.zeros(1), np.zeros(1))).all() and ratio(np.ones(1), np.full(1, 4)).tolist() == [0.25]


def test_mean_of_what_is_known() -> None:
    values = np.array([[1.0, NAN, NAN], [3.0, 2.0, NAN]])
    assert mean_known(values) == 2.0 and isinstance(mean_known(values), float) and np.isnan(mean_known([]))
    np.testing.assert_array_equal(mean_known(values, axis=0), [2.0, 2.0, NAN])
    np.testing.assert_array_equal(mean_known(values, axis=1), [1.0, 2.5])
    assert mean_known(np.array([True, False])) == 0.5


def test_iou() -> None:
    np.testing.assert_allclose(iou(np.array([5, 0, 3]), np.array([3, 0, 0]), np.array([3, 0, 0])), [0.6, NAN, 0])
