"""The sections about a segmentor, opened as a reader of HTML does."""

from pathlib import Path

import numpy as np
import pytest
from evaluations import CLASSES, segmented
from test_data_page import Page

from convnext_dense.report.evaluated import BINS, read_about, write_about
from convnext_dense.report.html import page
from convnext_dense.report.seg_figures import figures
from convnext_dense.report.seg_page import WORST, calibration_error, segmentation_sections

HEADINGS = ['Numbers', 'Classes', 'By size', 'Calibration', 'Confusion of classes', 'Most confused', 'By picture']


def opened(work_dir: Path) -> Page:
    about = read_about(work_dir)
    assert about is not None
    text = page('x', segmentation_sections(work_dir, about, figures(work_dir, about))).replace('<script>', '<style>')
    (work_dir / 'page.html').write_text(text.replace('</script>', '</style>'))
    return Page(work_dir / 'page.html')


def test_sections(tmp_path: Path) -> None:
    segmented(tmp_path)
    found = opened(tmp_path)
    assert found.headings == [*HEADINGS, 'The worst 12']
    assert len(found.images) == 3 + 3 + 12 * 4 and all(url.startswith('data:image/') for url in found.images)
    words = ' '.join(found.words.split())
    assert 'mIoU 70.00' in words and 'road taken for tree' in words and 'sky <b> taken' not in words
    assert all(name in words for name in CLASSES) and 'less sure than it could be' in words


def test_the_evaluators_figure_is_that_of_the_counted_pixels_or_it_is_said(tmp_path: Path) -> None:
    about = segmented(tmp_path)
    assert 'The evaluator has an mIoU of 70.00' in opened(tmp_path).words
    about.metrics['mIoU'] = round(100 * float(np.nanmean(figures(tmp_path, about).ious)), 2)
    write_about(tmp_path, about)
    assert 'The evaluator has' not in opened(tmp_path).words


def test_pixels_whose_confidence_is_no_number_are_counted(tmp_path: Path) -> None:
    segmented(tmp_path, not_finite=17)
    assert 'Of 17 pixels it is no number' in opened(tmp_path).words


def test_a_perfect_model(tmp_path: Path) -> None:
    segmented(tmp_path, share=0.0)
    found = opened(tmp_path)
    assert 'No pixel is of the wrong class.' in found.words and 'Most confused' not in found.headings


def test_a_model_that_is_too_sure(tmp_path: Path) -> None:
    segmented(tmp_path, share=1.0)
    assert 'surer than it should be' in opened(tmp_path).words


def test_a_model_that_does_not_say_how_sure_it_is(tmp_path: Path) -> None:
    segmented(tmp_path, calibration=[])
    assert 'does not say how sure' in opened(tmp_path).words


def test_only_the_worst_pictures(tmp_path: Path) -> None:
    segmented(tmp_path, pictures=WORST + 3)
    found = opened(tmp_path)
    assert found.headings[-1] == f'The worst {WORST}' and len(found.images) == 3 + 3 + 4 * WORST


def test_many_classes_have_no_matrix(tmp_path: Path) -> None:
    names = [*CLASSES, *(f'class {i}' for i in range(40))]
    segmented(tmp_path, classes=names, palette=[[i, 0, 0] for i in range(44)])
    assert len(opened(tmp_path).images) == 2 + 3 + 12 * 4


def test_calibration_error_by_hand() -> None:
    bins = np.zeros((BINS, 3))
    bins[5], bins[14] = [100, 50, 40], [100, 90, 97]  # 0.1 too low, 0.07 too high
    assert calibration_error(bins) == pytest.approx((10 + 7) / 200) and calibration_error(np.zeros((BINS, 3))) == 0
