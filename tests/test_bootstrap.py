"""Draws are the same for the same numbers; intervals have the width that theory gives."""

import numpy as np

from convnext_dense.report.bootstrap import FEWEST, drawn_anew, interval


def test_draws() -> None:
    draws = drawn_anew(50, 20)
    assert draws.shape == (20, 50) and (draws.sum(1) == 50).all()
    assert (draws == drawn_anew(50, 20)).all() and (draws != drawn_anew(50, 20, seed=1)).any()


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = interval(drawn_anew(400, 2000) @ values / 400)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.03)


def test_no_number_in_some_or_all_draws() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    low, high = interval(values)
    assert low[1] == high[1] == 2 and np.isnan([low[2], high[2]]).all() and 1 <= low[0] < high[0] <= 3


def test_too_few_pictures_have_no_interval() -> None:
    draws = np.random.default_rng(0).normal(size=(50, 3))
    low, high = interval(draws, np.array([FEWEST - 1, FEWEST, 100]))
    assert np.isnan([low[0], high[0]]).all() and (low[1:] < high[1:]).all()
    assert np.isnan(interval(draws, 1)).all() and np.isnan(interval(draws[:, 0], FEWEST - 1)).all()
    missed = (drawn_anew(1000, 5000)[:, :FEWEST].sum(1) == 0).mean()
    assert missed < 0.01  # a draw without any of the pictures that have a class
