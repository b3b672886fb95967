"""Is one run better than another? The difference of a metric over the same pictures, drawn anew together (paired bootstrap)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convnext_dense.report.bootstrap import LEVEL, drawn_anew, interval
from convnext_dense.report.known import mean_known

Floats = NDArray[np.float64]
Metric = Callable[[Floats], Floats]  # weights (times, pictures) to values (times, classes), of 1


@dataclass(frozen=True)
class Difference:
    """The second run minus the first, of 1: of the mean over classes, and of each class; intervals as (low, high)."""

    metric: str
    classes: tuple[str, ...]
    mean: float
    span: tuple[float, float]
    by_class: Floats  # (C,)
    spans: Floats  # (2, C)
    paired: bool

    def sentence(self, first: str, second: str) -> str:
        """What can be said: who is better and by how much, or that no difference is shown. Figures are of 100."""
        low, high = self.span
        ends = f'{100 * LEVEL:.0f} % interval {100 * low:.1f} to {100 * high:.1f}'
        how = '' if self.paired else '; of different pictures, drawn by themselves'
        if np.isnan(low) or low <= 0 <= high:
            return f'no difference shown: {second} minus {first} is {100 * self.mean:+.1f} {self.metric}, {ends}{how}'
        better, by, low, high = (second, self.mean, low, high) if self.mean > 0 else (first, -self.mean, -high, -low)
        ends = f'{100 * LEVEL:.0f} % interval {100 * low:.1f} to {100 * high:.1f}'
        return f'{better} is better by {100 * by:.1f} {self.metric}, {ends}{how}'


def difference(
    metric: str,
    classes: Sequence[str],
    first: Metric,
    second: Metric,
    pictures: tuple[int, int],
    paired: bool,
) -> Difference:
    """Of two runs' metrics by class, over so many pictures each; `paired`, where these are the same in the same order."""
    values = [metric_of(np.ones((1, number))) for metric_of, number in zip((first, second), pictures)]
    weights = [drawn_anew(pictures[0]), drawn_anew(pictures[1], seed=0 if paired else 1)]
    draws = [metric_of(one) for metric_of, one in zip((first, second), weights)]
    by_class, mean = values[1][0] - values[0][0], mean_known(values[1][0]) - mean_known(values[0][0])
    span = interval(mean_known(draws[1], axis=1) - mean_known(draws[0], axis=1))
    spans = interval(draws[1] - draws[0])
    return Difference(metric, tuple(classes), float(mean), (float(span[0]), float(span[1])), by_class, spans, paired)
