"""Shares and means of what is known: NaN stands for what is not, and is no warning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ratio(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    """Shares; NaN of nothing."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def mean_known(values: ArrayLike, axis: int | None = None) -> Any:
    """The mean of what is a number, a float without `axis`, else an array; NaN of nothing."""
    values = np.asarray(values, float)
    known = ~np.isnan(values)
    means = ratio(np.where(known, values, 0).sum(axis), known.sum(axis))
    return float(means) if axis is None else means


def iou(truth: ArrayLike, predicted: ArrayLike, both: ArrayLike) -> NDArray[np.float64]:
    """Of numbers of pixels; NaN of classes that are neither in the truth nor predicted."""
    return ratio(both, np.asarray(truth, float) + np.asarray(predicted, float) - np.asarray(both, float))
