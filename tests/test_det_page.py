"""The sections of a detector's errors, of whatever there is."""

import re
import warnings
from pathlib import Path

import pytest
from det_sets import by_hand, made_up
from test_det_pictures import with_pictures

from convnext_dense.detection.coco_metric import STATS, coco_stats
from convnext_dense.report.det_matches import Detected, class_matches, types_of
from convnext_dense.report.det_page import detection_sections
from convnext_dense.report.html import page

HEADINGS = [
    'What it costs',
    'Numbers',
    'Classes',
    'Precision and recall',
    'By size and crowding',
    'Score thresholds',
    'Confusion of classes',
]
GALLERIES = ['Missed objects', 'False alarms', 'Confused classes', 'Badly placed']
A, NOWHERE = (0, 0, 10, 10), (50, 50, 10, 10)


def sections(detected: Detected) -> dict[str, str]:
    """HTML by heading; a warning is an error."""
    colours = [(index * 20 % 256, 90, 90) for index, _ in enumerate(detected.truth['categories'])]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        html = detection_sections(detected, {one: class_matches(detected, one) for one in types_of(detected)}, colours)
    assert page('title', html).count('<h2>') == len(html)
    return {re.match('<h2>(.*?)</h2>', one)[1]: one for one in html}


def rows(html: str) -> dict[str, list[str]]:
    """The cells of all tables by the row's first one, without tags."""
    found = re.findall('<tr><td>(.*?)</td></tr>', html)
    cells = [[re.sub('<.*?>', '', cell).strip() for cell in row.split('</td><td>')] for row in found]
    return {first.partition(': ')[0]: rest for first, *rest in cells}


def test_boxes_and_masks(tmp_path: Path) -> None:
    detected = with_pictures(made_up(9, images=12, names=('<b>&', '$x_1$', '_', 'none')), tmp_path)
    for iou_type in ('bbox', 'segm'):
        stats, _ = coco_stats(detected.truth, detected.detections[iou_type], iou_type)
        detected.metrics |= {f'coco/{iou_type}_{name}': float(value) for name, value in zip(STATS, stats)}
    found = sections(detected)
    assert list(found) == HEADINGS + GALLERIES
    assert not any('<b>&' in one for one in found.values())
    costs = rows(found['What it costs'])
    assert list(costs)[:6] == ['classification', 'localisation', 'both', 'duplicate', 'background', 'missed']
    assert len(costs) == 8 and all(len(row) == 4 for row in costs.values()) and costs['background'][1].endswith('%')
    numbers = rows(found['Numbers'])
    assert list(numbers) == list(STATS) and numbers['mAP_l'] == ['-', '-']
    assert numbers['mAP'] == [f'{detected.metrics[f"coco/{one}_mAP"]:.3f}' for one in ('bbox', 'segm')]
    classes = rows(found['Classes'])
    assert list(classes) == ['&lt;b&gt;&amp;', '$x_1$', '_', 'none'] and classes['none'] == ['0', '-', '-', '-', '-']
    assert rows(found['Score thresholds'])['none'] == ['-', '-', '-', '-', '0']
    assert 'class="sorts"' in found['Classes'] and 'class="sorts"' in found['Score thresholds']
    assert found['Precision and recall'].count('<img class="chart"') == 1
    sizes = rows(found['By size and crowding'])
    assert {'small', 'medium', 'large', 'none', 'above 0.3'} <= set(sizes) and sizes['small'][2] == numbers['mAP_s'][0]


@pytest.mark.parametrize(
    ('truths', 'found', 'words'),
    [
        ([(0, 0, A)], [], 'The model found nothing.'),
        ([], [(0, 0, A, 0.5)], 'Without objects there is nothing'),
        ([], [], 'Without objects there is nothing'),
        ([(0, 0, A, 'crowd')], [(0, 0, A, 0.5)], 'Without objects there is nothing'),
        ([(0, 0, A)], [(0, 0, A, 0.5)], '1 objects in 1 pictures; 1 detections.'),
        ([(0, 0, A)], [(0, 0, NOWHERE, 0.5)], '1 objects in 1 pictures; 1 detections.'),
    ],
)
@pytest.mark.parametrize('names', [['cat'], ['cat', 'dog']])
def test_little_or_nothing(truths: list, found: list, words: str, names: list[str], tmp_path: Path) -> None:
    html = sections(with_pictures(by_hand(truths, found, names), tmp_path))
    assert list(html)[:7] == HEADINGS and words in html['What it costs']
    assert 'nan' not in ''.join(re.sub('data:image[^"]*', '', one) for one in html.values())
    assert set(list(html)[7:]) == ({'Missed objects'} if truths and not found else set()) | (
        {'False alarms'} if found and (not truths or found[0][2] == NOWHERE) else set()
    ) | ({'Missed objects'} if found and found[0][2] == NOWHERE else set())


def test_masks_alone_and_no_detections_of_any_type() -> None:
    detected = made_up(2)
    del detected.detections['bbox']
    assert 'AP, masks' in sections(detected)['Classes'] and 'boxes' not in sections(detected)['Numbers']
    detected.detections = {}
    assert 'The model found nothing.' in sections(detected)['What it costs']


def test_numbers_that_the_evaluator_does_not_say_are_no_dashes() -> None:
    """MMDetection's CocoMetric says six of the twelve."""
    detected = made_up(2)
    detected.metrics = {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_l': -1.0}
    html = sections(detected)['Numbers']
    numbers = rows(html)
    assert numbers['mAP'][0] == '0.250' and numbers['mAP_l'][0] == '-' and numbers['AR@1'] == ['not given'] * 2
    assert '&quot;not given&quot;: the evaluator of the config does not say it' in html
    detected.metrics = {f'coco/{kind}_{name}': 0.5 for kind in ('bbox', 'segm') for name in STATS}
    assert 'not given' not in sections(detected)['Numbers']


def test_pictures_that_are_not_there_give_words_alone() -> None:
    html = sections(made_up(3))
    assert '<img' not in html['Missed objects'] and 'cannot be read: p' in html['Missed objects']
