"""Words and tables of a page about a detector's errors: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from convnext_dense.report.html import bar, table

MOST = 30  # classes in the table of confusions
PAIRS = 12  # confusions that are listed


def number(value: float) -> str:
    """Three digits; a dash for NaN."""
    return '-' if np.isnan(value) else f'{value:.3f}'


def section(title: str, words: str, *parts: str) -> str:
    """A heading, how to read what follows, which is plain text, and HTML."""
    return f'<h2>{escape(title)}</h2><p>{escape(words)}</p>{"".join(parts)}'


def confusion_section(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    """Of `det_thresholds.confusion`'s table (K + 1, K + 1): the most frequent confusions, and up to `MOST` classes of it."""
    words = (
        'Objects (rows) by the class that they are taken for (columns), at IoU 0.5, by the detections from the score '
        'thresholds above on. In the column "missed" are objects without a detection, in the row "background" detections '
        'without an object.'
    )
    wrong = counts[:-1, :-1] * ~np.eye(len(names), dtype=bool)
    pairs = [divmod(int(index), len(names)) for index in np.argsort(-wrong, axis=None, kind='stable')[:PAIRS]]
    often = [
        [escape(names[row]), escape(names[column]), str(wrong[row, column]), bar(wrong[row, column] / counts[row].sum())]
        for row, column in pairs
        if wrong[row, column]
    ]
    listed = table(['object', 'taken for', 'objects', 'of all objects of the class'], often) if often else ''
    more = ''
    shown = list(names)
    if len(names) > MOST:
        kept = np.sort(np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind='stable')[:MOST])
        counts, shown = _gathered(counts, kept), [*(names[index] for index in kept), 'other classes']
        more = f'<p>The {MOST} most confused of {len(names)} classes; the others are one row and column.</p>'
    rows = [[escape(name), *(_share(count, row.sum()) for count in row)] for name, row in zip([*shown, 'background'], counts)]
    head = ['', *map(escape, shown), 'missed']
    return section('Confusion of classes', words, listed, more, f'<div style="overflow-x:auto">{table(head, rows)}</div>')


def _gathered(counts: NDArray[np.int64], kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """The table of the classes `kept`, then all others as one, then the last row and column."""
    group = np.full(len(counts), len(kept))
    group[kept], group[-1] = np.arange(len(kept)), len(kept) + 1
    gathered = np.zeros((len(kept) + 2, len(kept) + 2), np.int64)
    np.add.at(gathered, (group[:, None], group[None, :]), counts)
    return gathered


def _share(count: int, total: int) -> str:
    """A count on a ground the darker, the more of its row it is; nothing for 0."""
    if not count:
        return ''
    return f'<span style="background:rgba(72,120,168,{0.1 + 0.6 * count / total:.2f});padding:2px 5px">{count}</span>'
