"""The benchmark's outcome as a table and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from convnext_dense.benchmark.contest import LIMIT_SIDE, OURS, WORKS, Outcome

GIB = 2**30


def table(outcomes: Sequence[Outcome]) -> Table:
    """A row for each rival of each work; ratios are the rival's over ours, so that more is better for us."""
    head = ('work', 'rival', 'layout', 'median s', 'range s', 'x time', 'peak GiB', 'ours / peak', 'kept GiB', 'ours / kept')
    shown = Table(*head)
    for outcome in outcomes:
        ours = outcome.entries[OURS]
        for name, entry in outcome.entries.items():
            kept = f'{entry.kept_bytes / GIB:.2f}' if entry.kept_bytes is not None else ''
            kept_share = f'{ours.kept_bytes / entry.kept_bytes:.2f}' if ours.kept_bytes is not None and entry.kept_bytes else ''
            shown.add_row(
                WORKS[outcome.work].title,
                name,
                entry.layout.removeprefix('channels '),
                f'{entry.median:.3f}',
                entry.span(3),
                f'{entry.median / ours.median:.2f}',
                f'{entry.peak_bytes / GIB:.2f}',
                f'{ours.peak_bytes / entry.peak_bytes:.2f}',
                kept,
                kept_share,
            )
        for name, why in outcome.missing.items():
            shown.add_row(WORKS[outcome.work].title, name, f'not installed: {why}', *[''] * 7)
        shown.add_section()
    return shown


def limit_line(outcome: Outcome) -> str:
    """The backbone's floating-point operations a second as a share of the machine's own matrix product."""
    assert outcome.flops is not None and outcome.limit is not None
    ours, limit = outcome.flops / outcome.entries[OURS].median, 2 * LIMIT_SIDE**3 / outcome.limit.median
    return (
        f'{WORKS[outcome.work].title}: {outcome.flops / 1e9:.1f} GFLOP, {ours / 1e9:.0f} GFLOP/s, {ours / limit:.2f} of the '
        f'{limit / 1e9:.0f} GFLOP/s of a {LIMIT_SIDE}x{LIMIT_SIDE} matrix product'
    )


def chart(outcomes: Sequence[Outcome], path: Path) -> None:
    """Time relative to ours as horizontal bars, one panel a work."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    heights = [len(outcome.entries) for outcome in outcomes]
    figure, panels = plt.subplots(
        len(outcomes), 1, figsize=(9, 0.42 * sum(heights) + 0.8 * len(outcomes)), height_ratios=heights, squeeze=False
    )
    for panel, outcome in zip(panels[:, 0], outcomes):
        ours = outcome.entries[OURS].median
        names = list(outcome.entries)
        times = [outcome.entries[name].median / ours for name in names]
        spans = [[abs(edge(outcome.entries[n].seconds) / ours - t) for n, t in zip(names, times)] for edge in (min, max)]
        colours = ['tab:blue' if name == OURS else 'tab:gray' for name in names]
        bars = panel.barh(names, times, xerr=spans, color=colours, error_kw=dict(lw=0.8))
        panel.bar_label(bars, [f'{time:.2f}x' for time in times], padding=4, label_type='center', color='white')
        panel.invert_yaxis()
        panel.set_title(WORKS[outcome.work].title, loc='left', fontsize=10)
        panel.axvline(1, color='black', lw=0.6)
    panels[-1, 0].set_xlabel('time relative to convnext_dense: median, and range')
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
