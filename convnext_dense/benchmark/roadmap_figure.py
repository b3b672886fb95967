"""The paper's figure 2 drawn anew from its published numbers, beside what was counted, measured and trained here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convnext_dense.benchmark.roadmap import KERNELS, PLAIN, TITLES, Row, mean_and_deviation, relative_of

SIDEWAYS = ('kernel9', 'kernel11')  # steps that the walk does not go on from
ADOPTED, TRIED, LINE = '#4C78A8', '#B8CBE0', '#E45756'
MEASURED = dict(inference='inference time', training='training step', kept='activations')


def draw(rows: Sequence[Row], files: Sequence[Path]) -> None:
    """One row of panels a size: accuracy as bars with multiply-adds as a line; what was measured; mIoU of the toy set."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    sizes = list(dict.fromkeys(row['size'] for row in rows))
    has = [True, any('measured' in row for row in rows), any(row.get('miou') for row in rows)]
    height = max(0.33 * max(sum(row['size'] == size for row in rows) for size in sizes) + 1.4, 2.6)
    figure, panels = plt.subplots(
        len(sizes), sum(has), figsize=(2.6 + 4.4 * sum(has), height * len(sizes)), squeeze=False, layout='constrained'
    )
    for line, size in zip(panels, sizes):
        own = [row for row in rows if row['size'] == size]
        drawers = [drawer for drawer, wanted in zip((accuracy, measured, trained), has) if wanted]
        for i, (panel, drawer) in enumerate(zip(line, drawers)):
            drawer(panel, own)
            panel.set_yticks(range(len(own)), [row['title'] for row in own] if i == 0 else [''] * len(own))
            panel.set_ylim(len(own) - 0.4, -0.6)
            panel.spines[['top', 'right']].set_visible(False)
        line[0].set_title(f'{TITLES[size]}\n', loc='left', fontweight='bold')
    for file in files:
        figure.savefig(file, dpi=150)
    plt.close(figure)


def colours(rows: Sequence[Row]) -> list[str]:
    return [TRIED if row['step'] in SIDEWAYS else ADOPTED for row in rows]


def accuracy(panel: Any, rows: Sequence[Row]) -> None:
    """Published top-1, whiskers of its deviation; published and counted multiply-adds."""
    places, published = range(len(rows)), [row['published'] for row in rows]
    top1 = [one['top1'] for one in published]
    spread = [one['deviation'] or 0 for one in published]
    panel.barh(places, top1, xerr=spread, color=colours(rows), height=0.7, error_kw=dict(lw=1))
    low, high = min(top1), max(top1)
    panel.set_xlim(low - 3, high + 1.2)
    for place, (row, one) in enumerate(zip(rows, published)):
        ink = 'black' if row['step'] in SIDEWAYS else 'white'
        panel.text(low - 2.9, place, f'{one["top1"]:.2f}', va='center', color=ink, fontsize=8)
    panel.set_xlabel('ImageNet top-1, %, published (bars)', color=ADOPTED)
    above = panel.twiny()
    gmacs = [one['gmacs'] for one in published]
    above.plot(gmacs, places, 'o-', color=LINE, ms=4, lw=1.2, label='published')
    above.plot([row['gmacs'] for row in rows], places, 'x', color='black', ms=5, label='counted here')
    above.set_xlim(0, 1.3 * max(gmacs))
    above.set_xlabel('multiply-adds at 224 pixels, G (line)', color=LINE)
    above.legend(loc='upper right', fontsize=7)
    above.spines[['bottom', 'right']].set_visible(False)


def measured(panel: Any, rows: Sequence[Row]) -> None:
    """Time and memory of each step relative to the first; our kernels as hollow marks."""
    for (key, title), mark in zip(MEASURED.items(), 'os^'):
        for way, style in ((PLAIN, dict(ls='-')), (KERNELS, dict(ls='', mfc='none', ms=8))):
            points = [
                (relative_of(row['measured'][way], row, rows)[key], place)
                for place, row in enumerate(rows)
                if way in (row.get('measured') or {})
            ]
            if points:
                label = title if way == PLAIN else f'{title}, {way}'
                settings = dict(ms=4, lw=1.2, color=dict(zip(MEASURED, ('#54A24B', '#B279A2', '#F58518')))[key]) | style
                panel.plot(*zip(*points), marker=mark, label=label, **settings)
    panel.axvline(1, color='grey', lw=0.8, ls=':')
    panel.set_xlim(left=0)
    panel.set_xlabel('measured here, times the first step')
    if any('measured' in row for row in rows):
        panel.legend(
            fontsize=7, loc='upper center', bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False
        )  # below: off the lines


def trained(panel: Any, rows: Sequence[Row]) -> None:
    """mIoU on the toy set: the mean of the seeds, whiskers of their deviation, a dot each."""
    for place, (row, colour) in enumerate(zip(rows, colours(rows))):
        values = list((row.get('miou') or {}).values())
        if values:
            mean, deviation = mean_and_deviation(values)
            panel.barh(place, mean, xerr=deviation, color=colour, height=0.7, error_kw=dict(lw=1))
            panel.plot(values, [place] * len(values), '.', color='black', ms=4)
    panel.set_xlabel('mIoU of the toy set, from scratch')
