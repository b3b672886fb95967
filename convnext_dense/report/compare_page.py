"""The page of two runs or more: curves over each other, by how much one is better and how sure that is, where they differ."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convnext_dense.report.bootstrap import FEWEST
from convnext_dense.report.curves import curves
from convnext_dense.report.evaluate import run_config
from convnext_dense.report.evaluated import FOLDER, MAPS, read_maps
from convnext_dense.report.html import chart, grid, page, percent, table
from convnext_dense.report.look import names_of
from convnext_dense.report.paired import Difference, percentages, side
from convnext_dense.report.runs import BOXES, PICTURES, Run
from convnext_dense.report.seg_pictures import pair_cells

DIFFER = 12  # pictures that are shown
LINES = 400  # of the difference of two configs
SEED_ALONE = 'the configs differ in the seed alone. What is shown is what a seed changes, and no recipe is better.'
SIDES = {1: 'better', -1: 'worse', 0: ''}


class Pair(NamedTuple):
    """The first run beside another one."""

    first: Run
    second: Run
    difference: Difference
    seed_alone: bool = False  # whether their configs differ in nothing else


def compare_page(runs: Sequence[Run], pairs: Sequence[Pair]) -> str:
    """The whole page; `pairs` are of the first run with each other one."""
    title = ' and '.join(run.name for run in runs)
    sections = [
        f'<h1>{escape(title)}</h1>',
        ''.join(f'<p><b>{escape(pair.difference.sentence(pair.first.name, pair.second.name))}</b></p>' for pair in pairs),
        _what_is_compared(pairs),
        f'<h2>Curves</h2>{chart(curves({run.name: run.log for run in runs}), "curves of the runs")}',
        _costs(runs),
    ]
    for pair in pairs:
        sections += [_by_class(pair), _pictures(pair), _config(pair)]
    return page(title, sections)


def _what_is_compared(pairs: Sequence[Pair]) -> str:
    lines = []
    for first, second, found, seed in pairs:
        names = f'{first.name} and {second.name}'
        if seed:
            lines.append(f'{names}: {SEED_ALONE}')
        if found.apart == PICTURES:
            lines.append(
                f'{names} were tested on different pictures ({len(first.pictures)} and {len(second.pictures)}): the interval '
                'is of both drawn by themselves, and no pictures are compared.'
            )
        elif found.apart:
            lines.append(
                f'{names} were tested on the same pictures with different annotations, as where a class was left out of one: '
                'part of the difference may be theirs. The interval is of both drawn by themselves, and no pictures are '
                'compared.'
            )
        if set(first.classes) != set(second.classes):
            only = [
                f'only in {run.name}: {", ".join(name for name in run.classes if name not in found.classes)}'
                for run in (first, second)
                if set(run.classes) - set(found.classes)
            ]
            lines.append(f'Compared in the {len(found.classes)} classes that both have; {"; ".join(only)}.')
        boxes = [run for run in (first, second) if run.iou_type == BOXES]
        masks = [run.name for run in boxes if any(name.endswith('segm_mAP') for name in run.about.metrics)]
        if len(masks) == 1:
            lines.append(f'{names} are compared by their boxes: {masks[0]} makes masks, too, the other one does not.')
        if min(len(first.pictures), len(second.pictures)) < FEWEST:
            lines.append(f'Fewer than {FEWEST} pictures were tested: too few for an interval, and to say who is better.')
    return ''.join(f'<p class="warning">{escape(line)}</p>' for line in lines)


def _costs(runs: Sequence[Run]) -> str:
    head = [
        'run',
        'iterations',
        'seconds an iteration',
        'of them waiting for data',
        'hours',
        'peak memory, MiB',
        'tested',
        'figures',
    ]
    rows = []
    for run in runs:
        log = run.log
        middle = [float(np.nanmedian(values)) if values else np.nan for _, values in map(log.values, ('time', 'data_time'))]
        memory = log.values('memory')[1]
        figures = ', '.join(f'{name} {value:.4g}' for name, value in list(run.about.metrics.items())[:3])
        cells = [str(log.iteration), *(f'{value:.3g}' for value in middle), f'{middle[0] * log.iteration / 3600:.2f}']
        tested = f'{Path(run.about.checkpoint).name}, {run.about.iteration} iterations'
        rows.append([escape(run.name), *cells, f'{max(memory):.0f}' if memory else '-', escape(tested), escape(figures)])
    return f'<h2>Time and memory</h2><p>Times are medians of what was logged.</p>{table(head, rows)}'


def _by_class(pair: Pair) -> str:
    first, second, found, _ = pair
    values = [run.by_class(found.classes)(np.ones((1, len(run.pictures))))[0] for run in (first, second)]
    rows = []
    for index, name in enumerate(found.classes):
        gap, *ends = percentages([found.by_class[index], *found.spans[:, index]], signed=True)
        alone = [run.name for run, one, other in zip((first, second), values, values[::-1]) if _alone(one[index], other[index])]
        words = f'counts in the mean of {alone[0]} alone' if alone else SIDES[side(found.spans[:, index])]
        span = '-' if ends[0] == '-' else f'{ends[0]} to {ends[1]}'
        rows.append([escape(name), *(percent(float(one[index])) for one in values), gap, span, escape(words)])
    head = ['class', *(escape(run.name) for run in (first, second)), 'difference', 'interval', '']
    words = (
        f'{found.metric} of each class, of 100; better or worse is said where the interval leaves out 0. A dash for an '
        f'interval: fewer than {FEWEST} pictures have the class.'
    )
    return f'<h2>{escape(second.name)} beside {escape(first.name)}</h2><p>{escape(words)}</p>{table(head, rows, sorts=True)}'


def _alone(one: float, other: float) -> bool:
    """Whether a class has a figure in one run only: no picture has it, and only that run predicts it."""
    return not np.isnan(one) and bool(np.isnan(other))


def _pictures(pair: Pair) -> str:
    first, second, found, _ = pair
    if found.apart:
        return ''
    scores = [run.by_picture(found.classes) for run in (first, second)]
    # What has no figure has nothing to find, and nothing is said of it, which is right.
    gap = np.subtract(*(np.nan_to_num(score, nan=1.0) for score in scores))
    order = [int(i) for i in np.argsort(-np.abs(gap), kind='stable')[:DIFFER] if gap[i]]
    if not order:
        return '<h3>Pictures that differ most</h3><p>None differs.</p>'
    if first.matches is not None:
        rows = [[escape(Path(first.pictures[i]).name), *(percent(float(s[i])) for s in scores)] for i in order]
        head = ['picture', *(escape(run.name) for run in (first, second))]
        words = (
            'F1 of detections of a score of at least 0.5, at IoU 0.5, of 100. A dash: nothing is annotated, and nothing found.'
        )
        return f'<h3>Pictures that differ most</h3><p>{words}</p>{table(head, rows)}'
    cells: list[tuple[str, str]] = []
    for i in order:
        maps = [read_maps(run.folder / FOLDER / MAPS, i) for run in (first, second)]
        given = [names_of(dict(classes=run.classes, palette=run.about.palette)) for run in (first, second)]
        captions = [f'{run.name}: {percent(float(score[i]))}' for run, score in zip((first, second), scores)]
        cells += pair_cells(first.pictures[i], maps, given, first.about.channels, captions)
    return f'<h3>Pictures that differ most</h3><p>Picture, truth, and both predictions.</p>{grid(cells)}'


def _config(pair: Pair) -> str:
    paths = [run_config(run.log) for run in (pair.first, pair.second)]
    before, after = (path.read_text(errors='replace').splitlines() for path in paths)
    lines = list(difflib.unified_diff(before, after, pair.first.name, pair.second.name, lineterm='', n=2))
    if not lines:
        return '<h3>Configs</h3><p>Equal.</p>'
    more = f'\n… {len(lines) - LINES} more lines' if len(lines) > LINES else ''
    return f'<h3>Configs</h3><pre>{escape(chr(10).join(lines[:LINES]) + more)}</pre>'
