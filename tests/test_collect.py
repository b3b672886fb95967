"""What a test run's samples leave behind: maps, the histogram of confidences, a detector's ids."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from convnext_dense.errors import InputError
from convnext_dense.report.collect import CollectHook, add_to
from convnext_dense.report.evaluated import BINS, read_maps


def sample(truth: list, predicted: list, **more: torch.Tensor) -> SegDataSample:
    found = SegDataSample(metainfo=dict(img_path='a.png'))
    found.set_data(
        dict(gt_sem_seg=PixelData(data=torch.tensor([truth])), pred_sem_seg=PixelData(data=torch.tensor([predicted])))
    )
    found.set_data({name: PixelData(data=value) for name, value in more.items()})
    return found


def test_maps_and_confidences(tmp_path: Path) -> None:
    hook = CollectHook(str(tmp_path))
    confidence = torch.tensor([[[0.95, 0.95, 0.31, 1.0]]])
    hook.after_test_iter(None, 0, None, [sample([[0, 1, 1, 255]], [[0, 0, 1, 1]], confidence=confidence)])
    truth, predicted = read_maps(tmp_path, 0)
    assert truth.tolist() == [[0, 1, 1, 255]] and predicted.tolist() == [[0, 0, 1, 1]] and hook.pictures == ['a.png']
    assert (
        hook.confident
        and hook.bins[14].tolist() == pytest.approx([2, 1, 1.9])
        and hook.bins[4].tolist() == pytest.approx([1, 1, 0.31])
    )
    assert hook.bins.sum(0)[0] == 3


def test_confidences_of_logits(tmp_path: Path) -> None:
    logits = torch.tensor([2.0, 0.0]).view(2, 1, 1)
    binary = torch.tensor(-2.0).view(1, 1, 1)
    for given in (logits, binary):
        hook = CollectHook(str(tmp_path))
        hook.after_test_iter(None, 0, None, [sample([[0]], [[0]], seg_logits=given)])
        np.testing.assert_allclose(hook.bins.sum(0), [1, 1, 1 / (1 + np.exp(-2))], rtol=1e-6)


def test_a_model_that_does_not_say(tmp_path: Path) -> None:
    hook = CollectHook(str(tmp_path))
    hook.after_test_iter(None, 0, None, [sample([[0]], [[0]])])
    assert not hook.confident


def test_detectors(tmp_path: Path) -> None:
    hook, found = CollectHook(str(tmp_path)), DetDataSample(metainfo=dict(img_path='b.png', img_id=7))
    found.pred_instances = InstanceData(bboxes=torch.zeros(0, 4))
    hook.after_test_iter(None, 0, None, [found])
    assert hook.ids == [7] and hook.pictures == ['b.png'] and not list(tmp_path.iterdir())


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    hook, bare = CollectHook(str(tmp_path)), SegDataSample(metainfo=dict(img_path='a.png'))
    with pytest.raises(InputError, match='expected classes of pixels or objects'):
        hook.after_test_iter(None, 0, None, [bare])
    bare.pred_sem_seg = PixelData(data=torch.zeros(1, 2, 2))
    with pytest.raises(InputError, match='add LoadAnnotations'):
        hook.after_test_iter(None, 0, None, [bare])
    with pytest.raises(InputError, match='of the size of the picture'):
        hook.after_test_iter(None, 0, None, [sample([[0, 1]], [[0]])])


def test_bins_of_equal_width() -> None:
    bins = np.zeros((BINS, 3))
    add_to(bins, np.array([0.0, 1 / 15 - 1e-6, 1 / 15, 1.0]), np.array([True, False, True, True]))
    assert bins[:, 0].tolist() == [2, 1, *[0] * 12, 1] and bins[:, 1].tolist() == [1, 1, *[0] * 12, 1]
