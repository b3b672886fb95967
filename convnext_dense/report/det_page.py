"""The sections of a page about a detector's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from convnext_dense.detection.coco_metric import STATS
from convnext_dense.report.det_figures import Group, by_class, by_crowding, by_overlap, by_size, curves
from convnext_dense.report.det_matches import Detected, Matches
from convnext_dense.report.det_pictures import galleries
from convnext_dense.report.det_tables import confusion_section, number, section
from convnext_dense.report.det_thresholds import Threshold, confusion, thresholds
from convnext_dense.report.html import bar, chart, swatch, table
from convnext_dense.report.tide import KINDS, Tide, tide

Palette = Sequence[Sequence[int]]
NOT_GIVEN = 'not given'
WORDS = {'bbox': 'boxes', 'segm': 'masks'}
KIND_WORDS = {
    'classification': 'an object with the label of another class: IoU of at least 0.5 with it',
    'localisation': 'the right class in a wrong place: IoU of 0.1 to 0.5 with an object of it',
    'both': 'a wrong class in a wrong place',
    'duplicate': 'a second detection of an object that is found',
    'background': 'nothing is there: IoU of at most 0.1 with any object',
    'missed': 'an object that no detection found, nor one of a wrong class or place',
}
STAT_WORDS = {
    'mAP': 'AP, mean over IoU 0.50 to 0.95',
    'mAP_50': 'AP at IoU 0.50',
    'mAP_75': 'AP at IoU 0.75',
    'mAP_s': 'AP of small objects',
    'mAP_m': 'AP of medium objects',
    'mAP_l': 'AP of large objects',
    'AR@1': 'recall with 1 detection of a class in a picture',
    'AR@10': 'recall with 10',
    'AR@100': 'recall with 100',
    'AR_s@100': 'recall of small objects with 100',
    'AR_m@100': 'recall of medium objects with 100',
    'AR_l@100': 'recall of large objects with 100',
}


class Of(NamedTuple):
    """What is known of the boxes, or of the masks."""

    iou_type: str
    matches: Matches
    errors: Tide

    @property
    def words(self) -> str:
        return WORDS[self.iou_type]


def detection_sections(detected: Detected, matches: Mapping[str, Matches], palette: Palette) -> list[str]:
    """What a detector's errors are and cost, as sections for `html.page`; `palette` has a colour (r, g, b) for each category.

    `matches`: of `class_matches` for each of `types_of(detected)`.

    Boxes and masks where there are both; score thresholds, confusions and pictures are of the boxes then.
    """
    types = list(matches)
    both = [Of(one, matches[one], tide(detected, one)) for one in types]
    first = both[0]
    best = thresholds(first.matches)
    least = [one.score for one in best]
    return [
        _costs(both),
        _numbers(types, detected.metrics),
        _classes(both, palette),
        _curves(both, palette),
        _sizes(detected, both, least),
        _thresholds(first, best),
        confusion_section(confusion(detected, first.iou_type, first.matches, least), first.matches.names),
        *galleries(detected, first.iou_type, first.errors),
    ]


def _costs(both: Sequence[Of]) -> str:
    objects = int(both[0].matches.objects.sum())
    detections = sum(len(one.rows) for one in both[0].matches.classes)
    pictures = len(both[0].matches.images)
    there = f'{objects} objects in {pictures} pictures; {detections} detections. '
    if not objects:
        there += 'Without objects there is nothing to measure precision and recall against. '
    elif not detections:
        there += 'The model found nothing. '
    base = ' and '.join(f'{of.errors.ap50:.3f} for {of.words}' for of in both if not np.isnan(of.errors.ap50))
    words = (
        f'{there}Each row says how much higher AP50 would be without the errors of its kind, all others left as they are; the '
        f'rows do not add up. AP50 is {base or "unknown"} here, where the 100 best detections of a picture count, and a class '
        'with false alarms alone counts as 0 (TIDE, arXiv 2008.08115).'
    )
    head = ['error', *(f'{what}, {of.words}' for of in both for what in ('number', 'AP50 lost'))]
    rows = []
    for kind in KINDS:
        cells = [cell for of in both for cell in (str(of.errors.counts[kind]), _cost(of.errors.costs[kind]))]
        rows.append([f'<b>{kind}</b>: {KIND_WORDS[kind]}', *cells])
    false = [(sum(of.errors.counts.values()) - of.errors.counts['missed'], of.errors.false_positives) for of in both]
    absent = [(of.errors.not_found, of.errors.false_negatives) for of in both]
    for name, pairs, what in (
        ('all false positives', false, 'the first five kinds together'),
        ('all objects not found', absent, 'also those that a detection of a wrong class or place is at'),
    ):
        rows.append([f'<b>{name}</b>: {what}', *(cell for count, cost in pairs for cell in (str(count), _cost(cost)))])
    return section('What it costs', words, table(head, rows))


def _cost(value: float) -> str:
    return '-' if np.isnan(value) else f'<span style="white-space:nowrap">{bar(value)}</span>'


def _numbers(types: Sequence[str], metrics: Mapping[str, float]) -> str:
    def cell(iou_type: str, name: str) -> str:
        value = next((value for key, value in metrics.items() if key.rpartition('/')[2] == f'{iou_type}_{name}'), None)
        return NOT_GIVEN if value is None else number(value if value >= 0 else np.nan)

    rows = [[f'<b>{name}</b>: {STAT_WORDS[name]}', *(cell(one, name) for one in types)] for name in STATS]
    words = 'The twelve numbers of COCO, from 0 to 1, the higher the better; a dash where there is no object to count.'
    if any(NOT_GIVEN in row for row in rows):
        words += f' "{NOT_GIVEN}": the evaluator of the config does not say it; CocoStatsMetric says all.'
    return section('Numbers', words, table(['number', *(WORDS[one] for one in types)], rows))


def _classes(both: Sequence[Of], palette: Palette) -> str:
    words = 'Average precision of each class; a click on a head sorts, and a second click turns the order round.'
    columns = [by_class(of.matches) for of in both]
    head = ['class', 'objects', *(f'{what}, {of.words}' for of in both for what in ('AP', 'AP50'))]
    rows = [
        [
            f'{swatch(colour)}{escape(same[0].name)}',
            str(same[0].objects),
            *(number(value) for one in same for value in (one.ap, one.ap50)),
        ]
        for colour, same in zip(palette, zip(*columns))
    ]
    return section('Classes', words, table(head, rows, sorts=True))


def _curves(both: Sequence[Of], palette: Palette) -> str:
    words = (
        'How precise the detections are (up) if so many are kept that this share of the objects is found (to the right): '
        'black the mean over classes, thin lines the classes in the colours of the table above. Where a line falls to 0, the '
        'other objects are not found at any score.'
    )
    figure = Figure(figsize=(11, 4.2 * len(both)), layout='constrained')
    for of, row in zip(both, figure.subplots(len(both), 2, squeeze=False)):
        lines = curves(of.matches)
        for axes, name, classes, mean in zip(row, ('0.50', '0.75'), lines.classes, lines.mean):
            for colour, one in zip(palette, classes):
                axes.plot(lines.recalls, one, color=[part / 255 for part in colour], linewidth=0.7, alpha=0.6)
            axes.plot(lines.recalls, mean, color='black', linewidth=2)
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel='recall', ylabel='precision', title=f'{of.words}, IoU {name}')
            axes.grid(alpha=0.3)
    return section('Precision and recall', words, chart(figure, 'precision by recall'))


def _sizes(detected: Detected, both: Sequence[Of], least: Sequence[float]) -> str:
    sizes = [by_size(of.matches, detected.truth) for of in both]
    crowds = [by_crowding(of.matches) for of in both]
    overlaps = by_overlap(detected, both[0].matches, least)
    words = (
        'Small objects have an area of up to 32 x 32 pixels, large ones from 96 x 96 on. A mean is over the classes that have '
        'objects in the row, so that rows with few objects say little.'
    )
    rows = [[one.name, str(one.objects), number(one.recall), number(one.recall_kept)] for one in overlaps]
    return section(
        'By size and crowding',
        words,
        _groups('size', sizes, both),
        '<p>By the number of objects in a picture; false alarms in pictures without objects are not in this table.</p>',
        _groups('objects in a picture', crowds, both) if crowds[0] else '<p>No picture has an object.</p>',
        f'<p>Recall at IoU 0.5 by how far the box of an object overlaps that of the nearest other object, for '
        f'{both[0].words}: with all detections, and with those from the score thresholds below on.</p>',
        table(['IoU with the nearest', 'objects', 'recall', 'recall at thresholds'], rows),
    )


def _groups(name: str, columns: Sequence[Sequence[Group]], both: Sequence[Of]) -> str:
    head = [name, 'pictures', 'objects', *(f'{what}, {of.words}' for of in both for what in ('AP', 'AP50'))]
    rows = [
        [
            same[0].name,
            str(same[0].pictures),
            str(same[0].objects),
            *(number(value) for one in same for value in (one.ap, one.ap50)),
        ]
        for same in zip(*columns)
    ]
    return table(head, rows)


def _thresholds(of: Of, best: Sequence[Threshold]) -> str:
    words = (
        f'The score from which on to keep the {of.words} of a class, if false alarms and missed objects are equally bad: that '
        'with the highest F1 at IoU 0.5 in these pictures (on other pictures it will be a little lower); of equal ones the '
        'highest score. A dash: no detection of the class finds an object, and none is best kept.'
    )
    rows = [
        [
            escape(name),
            '-' if np.isinf(one.score) else f'{one.score:.4f}',
            *map(number, (one.precision, one.recall, one.f1)),
            str(int(matched.truths.sum())),
        ]
        for name, one, matched in zip(of.matches.names, best, of.matches.classes)
    ]
    head = ['class', 'score', 'precision', 'recall', 'F1', 'objects']
    return section('Score thresholds', words, table(head, rows, sorts=True))
