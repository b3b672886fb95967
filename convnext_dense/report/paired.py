"""Is one run better than another? The difference of a metric over the same pictures, drawn anew together (paired bootstrap)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convnext_dense.report.bootstrap import FEWEST, LEVEL, drawn_anew, interval
from convnext_dense.report.known import mean_known

Floats = NDArray[np.float64]
Metric = Callable[[Floats], Floats]  # weights (times, pictures) to values (times, classes), of 1
EXACT = 9  # decimals of a share that mean anything: below is what sums in another order differ by


@dataclass(frozen=True)
class Difference:
    """The second run minus the first, of 1: of the mean over classes, and of each class; intervals as (low, high).

    `apart`: in words, why the pictures of the two were drawn by themselves; empty where they were drawn together.
    """

    metric: str
    classes: tuple[str, ...]
    mean: float
    span: tuple[float, float]
    by_class: Floats  # (C,)
    spans: Floats  # (2, C)
    apart: str = ''

    @property
    def paired(self) -> bool:
        return not self.apart

    def sentence(self, first: str, second: str) -> str:
        """What can be said: who is better and by how much, or that no difference is shown. Figures are of 100."""
        how = f'; {self.apart}: drawn by themselves' if self.apart else ''
        if np.isnan(self.mean):
            return f'no difference shown: one of {first} and {second} has no {self.metric}'
        sign = side(self.span)
        if np.isnan(self.span[0]):
            (by,) = percentages([self.mean], signed=True)
            none = f'no interval of fewer than {FEWEST} pictures'
            return f'no difference shown: {second} minus {first} is {by} {self.metric}, {none}'
        if not sign:
            by, *ends = percentages([self.mean, *self.span], signed=True)
            ends = [end.removeprefix('+') for end in ends]
            return f'no difference shown: {second} minus {first} is {by} {self.metric}, {_interval(ends)}{how}'
        better, low, high = (second, *self.span) if sign > 0 else (first, -self.span[1], -self.span[0])
        by, *ends = percentages([sign * self.mean, low, high])
        if sign * self.mean > 0:
            return f'{better} is better by {by} {self.metric}, {_interval(ends)}{how}'
        return f'{better} is better in nearly all draws, {_interval(ends)}, but by {by} {self.metric} on all pictures{how}'


def _interval(ends: Sequence[str]) -> str:
    return f'{100 * LEVEL:.0f} % interval {ends[0]} to {ends[1]}'


def side(span: Sequence[float] | Floats) -> int:
    """1 where an interval is above 0, -1 below, 0 where 0 is in it or there is none."""
    low, high = np.round(span, EXACT)
    return int(low > 0) - int(high < 0)


def percentages(values: Sequence[float], signed: bool = False) -> list[str]:
    """Shares as percentages, with as many digits (1 at least) as it takes that none that is not 0 reads 0; '-' for NaN."""
    shares = [round(100 * value, EXACT - 2) + 0.0 for value in values]  # no negative zero
    digits = next(n for n in range(1, EXACT - 1) if all(round(one, n) or not one or np.isnan(one) for one in shares))
    return ['-' if np.isnan(one) else f'{one:{"+" if signed else ""}.{digits}f}' for one in shares]


def difference(
    metric: str,
    classes: Sequence[str],
    first: Metric,
    second: Metric,
    pictures: tuple[int, int],
    having: ArrayLike = FEWEST,
    apart: str = '',
) -> Difference:
    """Of two runs' metrics by class, over so many pictures each, the same in the same order unless `apart` says what is not.

    `having` (C,): how many pictures have an object or a pixel of each class, in the run that has fewer.
    """
    values = [metric_of(np.ones((1, number))) for metric_of, number in zip((first, second), pictures)]
    weights = [drawn_anew(pictures[0]), drawn_anew(pictures[1], seed=1 if apart else 0)]
    draws = [metric_of(one) for metric_of, one in zip((first, second), weights)]
    by_class, mean = values[1][0] - values[0][0], mean_known(values[1][0]) - mean_known(values[0][0])
    low, high = interval(mean_known(draws[1], axis=1) - mean_known(draws[0], axis=1), min(pictures)).tolist()
    spans = interval(draws[1] - draws[0], having)
    return Difference(metric, tuple(classes), float(mean), (low, high), by_class, spans, apart)
