"""How sure a figure is: the bootstrap (B. Efron, 1979), pictures drawn anew with replacement; the middle 95 % of what comes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TIMES = 1000
LEVEL = 0.95


def drawn_anew(pictures: int, times: int = TIMES, seed: int = 0) -> NDArray[np.float64]:
    """(times, pictures): how often each picture is in each draw; the same for the same numbers."""
    return np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), times).astype(np.float64)


def interval(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, ...): the ends of the middle of values (times, ...); NaN where no draw gave a number."""
    edges = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    flat = values.reshape(len(values), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    known = ~np.isnan(flat).all(0)
    if known.any():
        ends[:, known] = np.nanpercentile(flat[:, known], edges, axis=0)
    return ends.reshape(2, *values.shape[1:])
