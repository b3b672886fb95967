"""The page of two runs: who is better, by class, where they differ, what it cost, and how the configs differ."""

from pathlib import Path

from test_data_page import Page
from test_runs import detector, run

from convnext_dense.report.compare_page import Pair, compare_page
from convnext_dense.report.runs import Run, compare


def opened(tmp_path: Path, first: Run, *others: Run) -> Page:
    text = compare_page([first, *others], [Pair(first, other, compare(first, other)) for other in others])
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
    page = opened(tmp_path, detector(tmp_path / 'a', 12.0), detector(tmp_path / 'b', 0.0))
    assert 'b is better by 70.0 bbox AP' in page.words and 'None differs.' in page.words
