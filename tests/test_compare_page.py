"""The page of two runs: who is better, by class, where they differ, what it cost, and how the configs differ."""

import re
from pathlib import Path

from test_data_page import Page
from test_runs import detector, run

from convnext_dense.report.compare_page import Pair, compare_page
from convnext_dense.report.runs import Run, alike, compare


def opened(tmp_path: Path, first: Run, *others: Run) -> Page:
    pairs = [alike(first, other) for other in others]
    text = compare_page([first, *others], [Pair(*pair, compare(*pair)) for pair in pairs])
    (tmp_path / 'page.html').write_text(text.replace('script>', 'style>'))
    return Page(tmp_path / 'page.html')


def test_segmentors(tmp_path: Path) -> None:
    first, second = (run(tmp_path / name, share, tmp_path / 'photos') for name, share in (('a', 0.4), ('b', 0.1)))
    config = tmp_path / 'b' / '20260101_000000' / 'vis_data' / 'config.py'
    config.write_text('a = 2\n')
    page = opened(tmp_path, first, second)
    assert page.headings == ['Curves', 'Time and memory', 'b beside a', 'Pictures that differ most', 'Configs']
    assert 'b is better by' in page.words and '-a = 1' in page.words and '+a = 2' in page.words and 'better' in page.words
    assert len(page.images) == 1 + 12 * 4


def test_a_run_beside_an_equal_one(tmp_path: Path) -> None:
    first, second, third = (run(tmp_path / name, 0.3, tmp_path / 'photos') for name in 'abc')
    page = opened(tmp_path, first, second, third)
    assert page.words.count('no difference shown') == 2 and 'None differs.' in page.words and 'Equal.' in page.words


def test_other_pictures_and_classes_are_said(tmp_path: Path) -> None:
    first = run(tmp_path / 'a', 0.3, tmp_path / 'photos')
    second = run(tmp_path / 'b', 0.3, tmp_path / 'more', 8, classes=['tree', 'sky <b>', 'river', 'car'])
    page = opened(tmp_path, first, second)
    assert 'different pictures (12 and 8)' in page.words and 'only in a: road; only in b: river' in page.words
    assert 'Pictures that differ most' not in page.headings


def test_detectors(tmp_path: Path) -> None:
    page = opened(tmp_path, detector(tmp_path / 'a', 12.0), detector(tmp_path / 'b'))
    assert 'b is better by 70.0 bbox AP' in page.words and 'None differs.' in page.words


def test_the_pictures_of_detectors_are_named_by_their_ids(tmp_path: Path) -> None:
    page = opened(tmp_path, detector(tmp_path / 'a'), detector(tmp_path / 'b', 40.0, shifted=[3]))
    assert '3.png 100.0 0.0' in ' '.join(page.words.split()) and page.words.count('.png') == 1


def test_false_alarms_of_one_run_where_nothing_is_annotated_are_listed(tmp_path: Path) -> None:
    page = opened(
        tmp_path, detector(tmp_path / 'a', empty=(5,), shifted=()), detector(tmp_path / 'b', empty=(5,), shifted=(5,))
    )
    assert '5.png - 0.0' in ' '.join(page.words.split()) and page.words.count('.png') == 1


def test_masks_beside_boxes(tmp_path: Path) -> None:
    page = opened(tmp_path, detector(tmp_path / 'a', iou_type='segm'), detector(tmp_path / 'b', 12.0))
    assert 'a and b are compared by their boxes: a makes masks' in page.words and 'a is better by 70.0 bbox AP' in page.words


def test_other_annotations_are_said(tmp_path: Path) -> None:
    page = opened(tmp_path, detector(tmp_path / 'a', 12.0), detector(tmp_path / 'b', empty=(5,), shifted=()))
    words = ' '.join(page.words.split())
    assert (
        'the same pictures with different annotations' in words
        and 'different annotations of the same pictures: drawn by' in words
    )
    assert 'Pictures that differ most' not in page.headings


def test_a_class_that_one_run_alone_predicts_and_no_picture_has(tmp_path: Path) -> None:
    first, second = (run(tmp_path / name, 0.3, tmp_path / 'photos') for name in 'ab')
    for one in (first, second):
        for counts in (one.found.truth, one.found.predicted, one.found.both):
            counts[:, 3] = 0
    second.found.predicted[4, 3] = 1
    words = ' '.join(opened(tmp_path, first, second).words.split())
    assert 'car - 0.0 - - counts in the mean of b alone' in words


def test_few_pictures_have_no_interval_and_nobody_is_better(tmp_path: Path) -> None:
    first, second = (run(tmp_path / name, share, tmp_path / 'photos', 1) for name, share in (('a', 0.6), ('b', 0.1)))
    page = opened(tmp_path, first, second)
    words = ' '.join(page.words.split())
    assert 'no difference shown: b minus a is' in words and 'Fewer than 5 pictures were tested' in words
    assert 'fewer than 5 pictures have the class' in words and 'b is better' not in words
    first, second = (run(tmp_path / name, share, tmp_path / 'more') for name, share in (('c', 0.6), ('d', 0.1)))
    for one in (first, second):  # the last class in one picture alone
        for counts in (one.found.truth, one.found.predicted, one.found.both):
            counts[1:, 2] = 0
    assert re.search(r'road \d+.\d \d+.\d \+\d+.\d - car', ' '.join(opened(tmp_path, first, second).words.split()))
