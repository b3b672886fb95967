"""What a segmentor gets wrong, as sections of a page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convnext_dense.report.bootstrap import FEWEST, LEVEL
from convnext_dense.report.evaluated import BINS, FOLDER, MAPS, About, read_maps
from convnext_dense.report.html import chart, drawn, grid, percent, span, swatch, table
from convnext_dense.report.known import mean_known
from convnext_dense.report.look import Names, names_of
from convnext_dense.report.seg_counts import EDGES, SIZES
from convnext_dense.report.seg_figures import Figures
from convnext_dense.report.seg_pictures import confused, four

WORST = 20  # pictures
PAIRS = 12  # of classes
MATRIX = 30  # classes up to which the whole matrix is drawn
ROUNDED = 0.0051  # of the evaluator's figures, in percent
RECALL = 'accuracy (recall)'


def segmentation_sections(work_dir: Path, about: About, found: Figures) -> list[str]:
    """The sections, from what is kept in the work directory and what was counted of it."""
    names = names_of(dict(classes=about.classes, palette=about.palette))
    spans = found.intervals()
    return [
        _numbers(about, found, spans),
        _classes(names, found, spans),
        _sizes(found),
        _calibration(about),
        _confusion(work_dir, about, names, found),
        _pictures(work_dir, about, names, found),
    ]


def _numbers(about: About, found: Figures, spans: Mapping[str, NDArray]) -> str:
    rows = [[escape(name), f'{value:.2f}'] for name, value in about.metrics.items() if name not in ('time', 'data_time')]
    level = f'{100 * LEVEL:.0f} %'
    rows.append([f'mIoU, {level} interval', span(spans['miou'])])
    rows.append(['boundary mIoU', percent(mean_known(found.boundary_ious), 2)])
    words = (
        f'As convnext-dense test prints them: {len(about.pictures)} pictures, {about.iteration} iterations. Intervals: '
        f'where the figure lies in {level} of the draws when as many pictures are drawn anew from these. Boundary IoU (arXiv '
        "2103.16562) counts only pixels along boundaries, in a band of 2 % of the picture's diagonal. A dash for an interval: "
        f'fewer than {FEWEST} pictures were tested, or have the class.'
    )
    text = f'<h2>Numbers</h2><p>{escape(words)}</p>{table(["figure", "percent"], rows)}'
    return text + ''.join(f'<p><b>{escape(line)}</b></p>' for line in disagreement(about, found))


def disagreement(about: About, found: Figures) -> list[str]:
    """A line where the evaluator's mIoU is not that of the pixels counted here, beyond its rounding."""
    counted, told = 100 * mean_known(found.ious), about.metrics.get('mIoU', np.nan)
    if np.isnan(told) or abs(counted - told) <= ROUNDED:
        return []
    return [
        f'The evaluator has an mIoU of {told:.2f}, the pixels counted for the tables below one of {counted:.2f}: they do '
        'not treat the same pixels or classes alike (ignore_index, nan_to_num, labels that are no class).'
    ]


def _classes(names: Names, found: Figures, spans: Mapping[str, NDArray]) -> str:
    head = ['class', 'IoU', 'interval', RECALL, 'interval', 'precision', 'interval', 'boundary IoU', 'of all pixels']
    shares = found.truth.sum(0) / max(found.truth.sum(), 1)
    columns = found.ious, found.recalls, found.precisions, found.boundary_ious
    rows = []
    for label, name in enumerate(names.classes):
        iou, recall, precision, edge = (percent(float(column[label])) for column in columns)
        ends = [span(spans[key][:, label]) for key in ('iou', 'recall', 'precision')]
        cells = [iou, ends[0], recall, ends[1], precision, ends[2], edge, f'{100 * shares[label]:.2f} %']
        rows.append([f'{swatch(names.palette[label])}{escape(name)}', *cells])
    words = (
        'In percent; a click on a head sorts. A class with a high precision and a low recall is missed; the other way round, '
        'it is seen where it is not.'
    )
    return f'<h2>Classes</h2><p>{words}</p>{table(head, rows, sorts=True)}'


def _sizes(found: Figures) -> str:
    ious, truth = found.size_ious, found.sizes[:, 0].sum(1)
    limits = f'below {EDGES[0]} pixels', f'below {EDGES[1]}', 'the others'
    rows = []
    for index, size in enumerate(SIZES):
        known = int((~np.isnan(ious[index])).sum())
        share = truth[index] / max(truth.sum(), 1)
        cells = [percent(mean_known(ious[index])), str(known), f'{100 * share:.1f} %']
        rows.append([f'{size} ({limits[index]})', *cells])
    words = (
        'By the size of connected regions of the truth. A pixel that is wrongly predicted counts for the nearest region of its '
        'class in the picture, and nowhere where the picture has none of the class: such false alarms are in the tables above.'
    )
    return f'<h2>By size</h2><p>{words}</p>{table(["regions", "mIoU", "classes", "of all pixels"], rows)}'


def calibration_error(bins: NDArray[np.float64]) -> float:
    """Expected calibration error (arXiv 1706.04599, equation 3) of a histogram (BINS, 3) of pixels, right ones, confidences."""
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / max(bins[:, 0].sum(), 1))


def _calibration(about: About) -> str:
    if not about.calibration:
        return '<h2>Calibration</h2><p>The model does not say how sure it is.</p>'
    bins = np.array(about.calibration)
    there = bins[:, 0] > 0
    right, sure = bins[there, 1] / bins[there, 0], bins[there, 2] / bins[there, 0]
    error, gap = calibration_error(bins), float((bins[:, 2] - bins[:, 1]).sum() / max(bins[:, 0].sum(), 1))
    figure = Figure(figsize=(7.5, 3.2), layout='constrained')
    left, counts = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color='grey', linewidth=0.8)
    left.plot(sure, right, marker='o', color='tab:blue')
    left.set(xlabel='how sure the model is', ylabel='how often it is right', xlim=(0, 1), ylim=(0, 1), aspect='equal')
    counts.bar((np.arange(BINS) + 0.5) / BINS, bins[:, 0] / max(bins[:, 0].sum(), 1), width=0.9 / BINS)
    counts.set(xlabel='how sure the model is', ylabel='share of the pixels', xlim=(0, 1))
    way = 'surer than it should be' if gap > 0 else 'less sure than it could be'
    words = (
        f'Expected calibration error {100 * error:.2f} %; on the whole the model is {way}, by {100 * abs(gap):.2f} %. On the '
        'line, a probability of 0.8 is right in 80 % of the pixels.'
    )
    if about.not_finite:
        words += f' Of {about.not_finite} pixels it is no number: the model gives values that are not finite.'
    return f'<h2>Calibration</h2><p>{words}</p>{chart(figure, "how often the model is right, by how sure it is")}'


def _confusion(work_dir: Path, about: About, names: Names, found: Figures) -> str:
    text = ['<h2>Confusion of classes</h2>']
    if len(names.classes) <= MATRIX:
        text += ['<p>Of the pixels of each class (rows), where they went, in percent.</p>', _matrix(names, found.confusion)]
    off = found.confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(off, axis=None)[::-1][:PAIRS]
    pairs = [(int(i) // len(off), int(i) % len(off)) for i in order if off.flat[i]]
    if not pairs:
        return '\n'.join([*text, '<p>No pixel is of the wrong class.</p>'])
    truth, predicted = found.confusion.sum(1), found.confusion.sum(0)
    rows = [
        [
            f'{escape(names.classes[t])} taken for {escape(names.classes[p])}',
            str(off[t, p]),
            f'{100 * off[t, p] / max(truth[t], 1):.1f} %',
            f'{100 * off[t, p] / max(predicted[p], 1):.1f} %',
        ]
        for t, p in pairs
    ]
    text.append('<h3>Most confused</h3>')
    text.append(table(['', 'pixels', 'of the class', 'of what is predicted'], rows))
    text.append('<p>Where most of it happened; the wrong pixels are outlined.</p>')
    text.append(grid(confused(work_dir / FOLDER / MAPS, about, names, [(pair, found.examples[pair]) for pair in pairs])))
    return '\n'.join(text)


def _matrix(names: Names, confusion: NDArray[np.int64]) -> str:
    shares = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    size = len(names.classes)
    side = 1.6 + 0.42 * size
    figure = Figure(figsize=(side + 0.8, side), layout='constrained')
    axis = figure.subplots()
    axis.imshow(shares, cmap='Blues', vmin=0, vmax=100)
    for row in range(size):
        for column in range(size):
            if shares[row, column] >= 0.5:
                colour = 'white' if shares[row, column] > 60 else 'black'
                axis.text(column, row, f'{shares[row, column]:.0f}', ha='center', va='center', fontsize=7, color=colour)
    labels = [drawn(name) for name in names.classes]
    axis.set_xticks(range(size), labels, rotation=90, fontsize=8)
    axis.set_yticks(range(size), labels, fontsize=8)
    axis.set(xlabel='predicted', ylabel='truth')
    return chart(figure, 'confusion of classes')


def _pictures(work_dir: Path, about: About, names: Names, found: Figures) -> str:
    known = np.flatnonzero(~np.isnan(found.mious))
    if not len(known):
        return '<h2>By picture</h2><p>No picture has annotated pixels.</p>'
    values = found.mious[known]
    figure = Figure(figsize=(7.5, 2.4), layout='constrained')
    axis = figure.subplots()
    axis.hist(100 * values, bins=np.linspace(0, 100, 26).tolist())
    axis.set(xlabel='mIoU of a picture', ylabel='pictures', xlim=(0, 100))
    middle = f'Half of the pictures have {percent(float(np.median(values)))} or more, nine of ten at least '
    middle += (
        f'{percent(float(np.percentile(values, 10)))}. The mean is over the classes that a picture has or is said to have.'
    )
    worst = known[np.argsort(values, kind='stable')][:WORST]
    cells = [
        cell
        for index in worst.tolist()
        for cell in four(
            about.pictures[index],
            *read_maps(work_dir / FOLDER / MAPS, index),
            names,
            about.channels,
            f'{Path(about.pictures[index]).name}: {percent(float(found.mious[index]))}',
        )
    ]
    return (
        f'<h2>By picture</h2><p>{middle}</p>{chart(figure, "mIoU by picture")}<h3>The worst {len(worst)}</h3>'
        f'<p>Picture, truth, prediction; where they differ is red, what has no class is blue.</p>{grid(cells)}'
    )
