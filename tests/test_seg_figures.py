"""Figures over pictures equal those of mmseg's metric, and of all pixels at once; examples are those with the most pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluations import CLASSES, segmented
from mmseg.evaluation import IoUMetric

from convnext_dense.report.bootstrap import drawn_anew
from convnext_dense.report.evaluated import FOLDER, MAPS, read_maps
from convnext_dense.report.known import mean_known
from convnext_dense.report.seg_figures import figures


@pytest.fixture
def kept(tmp_path: Path):
    return tmp_path, segmented(tmp_path)


def test_equal_to_the_metric_of_mmseg(kept) -> None:
    work_dir, about = kept
    found = figures(work_dir, about)
    sums = []
    for index in range(len(about.pictures)):
        truth, predicted = (torch.from_numpy(one) for one in read_maps(work_dir / FOLDER / MAPS, index))
        sums.append(IoUMetric.intersect_and_union(predicted, truth, len(CLASSES), 255))
    both, union, predicted, truth = (torch.stack(column).sum(0).double().numpy() for column in zip(*sums))
    np.testing.assert_allclose(found.ious, both / union, rtol=1e-12)
    np.testing.assert_allclose(found.recalls, both / truth, rtol=1e-12)
    np.testing.assert_allclose(found.precisions, both / predicted, rtol=1e-12)
    assert (found.confusion.sum(1) == truth).all() and (np.diag(found.confusion) == both).all()


def test_intervals_hold_the_figure_and_shrink_with_pictures(tmp_path: Path) -> None:
    few, many = (figures(tmp_path / name, segmented(tmp_path / name, pictures=n)) for name, n in (('few', 6), ('many', 40)))
    for found in (few, many):
        spans = found.intervals()
        low, high = spans['iou']
        assert (low <= found.ious + 1e-12).all() and (found.ious <= high + 1e-12).all()
        assert spans['miou'][0] < mean_known(found.ious) < spans['miou'][1]
    widths = [float(np.diff(found.intervals()['miou'])[0]) for found in (few, many)]
    assert widths[1] < widths[0]


def test_a_class_that_is_nowhere_has_no_figure(tmp_path: Path) -> None:
    about = segmented(tmp_path, classes=[*CLASSES, 'boat'], palette=[[0, 0, 0]] * 5)
    found = figures(tmp_path, about)
    assert np.isnan(found.ious[4]) and np.isnan(found.intervals(drawn_anew(12, 10))['iou'][:, 4]).all()
    assert not np.isnan(mean_known(found.ious)) and np.isnan(found.boundary_ious[4]) and np.isnan(found.size_ious[:, 4]).all()


def test_examples_and_progress(kept) -> None:
    work_dir, about = kept
    told: list[tuple[int, int]] = []
    found = figures(work_dir, about, lambda *pair: told.append(pair))
    assert told == [(i + 1, 12) for i in range(12)] and list(found.examples) == [(2, 1)]
    pixels = []
    for index in range(12):
        truth, predicted = read_maps(work_dir / FOLDER / MAPS, index)
        pixels.append(int(((truth == 2) & (predicted == 1)).sum()))
    assert sorted(found.examples[2, 1]) == sorted((n, i) for i, n in enumerate(pixels) if n in sorted(pixels)[-3:])
