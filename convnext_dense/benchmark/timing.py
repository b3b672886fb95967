"""Timing rivals on the same inputs in one run: interleaved, so that a busy machine is busy for all, and by the median."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.table import Table


@dataclass
class Timing:
    """Seconds of each round of a rival."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    def span(self, digits: int, scale: float = 1) -> str:
        """The shortest and the longest round, in seconds times `scale`."""
        return f'{scale * min(self.seconds):.{digits}f} to {scale * max(self.seconds):.{digits}f}'


def interleave(rivals: Mapping[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, Timing], dict[str, Any]]:
    """Run every rival once a round, in turn, and return their timings and last results.

    A first round warms up and is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    results: dict[str, Any] = {}
    for index in range(rounds + 1):
        for name, run in rivals.items():
            start = time.perf_counter()
            results[name] = run()
            if index:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}, results


def add_rows(table: Table, work: str, timings: Mapping[str, Timing]) -> None:
    """A row for each rival: median, range, and how many times faster than the first."""
    base = next(iter(timings.values())).median
    for name, timing in timings.items():
        table.add_row(work, name, f'{1e3 * timing.median:.1f}', timing.span(1, 1e3), f'{base / timing.median:.2f}')
