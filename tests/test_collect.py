"""What a test run's samples leave behind: maps, the histogram of confidences, a detector's ids."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample

from convnext_dense.errors import InputError
from convnext_dense.report.collect import CollectHook, add_to
from convnext_dense.report.evaluated import BINS, read_maps
from convnext_dense.report.seg_counts import count


def sample(truth: list, predicted: list, **more: torch.Tensor) -> SegDataSample:
    found = SegDataSample(metainfo=dict(img_path='a.png'))
    found.set_data(
        dict(gt_sem_seg=PixelData(data=torch.tensor([truth])), pred_sem_seg=PixelData(data=torch.tensor([predicted])))
    )
    found.set_data({name: PixelData(data=value) for name, value in more.items()})
    return found


def test_maps_and_confidences(tmp_path: Path) -> None:
    hook = CollectHook(str(tmp_path), 2)
    confidence = torch.tensor([[[0.95, 0.95, 0.31, 1.0]]])
    hook.after_test_iter(None, 0, None, [sample([[0, 1, 1, 255]], [[0, 0, 1, 1]], confidence=confidence)])
    truth, predicted = read_maps(tmp_path, 0)
    assert truth.tolist() == [[0, 1, 1, 255]] and predicted.tolist() == [[0, 0, 1, 1]]
    assert hook.pictures == [str(Path('a.png').resolve())]
    assert (
        hook.confident
        and hook.bins[14].tolist() == pytest.approx([2, 1, 1.9])
        and hook.bins[4].tolist() == pytest.approx([1, 1, 0.31])
    )
    assert hook.bins.sum(0)[0] == 3


def test_confidences_of_logits(tmp_path: Path) -> None:
    logits = torch.tensor([2.0, 0.0]).view(2, 1, 1)
    hook = CollectHook(str(tmp_path), 2)
    hook.after_test_iter(None, 0, None, [sample([[0]], [[0]], seg_logits=logits)])
    np.testing.assert_allclose(hook.bins.sum(0), [1, 1, 1 / (1 + np.exp(-2))], rtol=1e-6)


@pytest.mark.parametrize(('logit', 'threshold', 'sure'), [(-2.0, 0.5, 0.880797), (2.0, 0.5, 0.880797), (-0.8, 0.3, 0.310026)])
def test_confidences_of_one_logit_by_the_segmentor(tmp_path: Path, logit: float, threshold: float, sure: float) -> None:
    """As MMSegmentation's segmentor leaves it: the probability of the second class, which is chosen above a threshold."""
    segmentor = EncoderDecoder.__new__(EncoderDecoder)
    torch.nn.Module.__init__(segmentor)
    segmentor.decode_head = torch.nn.Identity()
    segmentor.decode_head.threshold, segmentor.align_corners = threshold, False
    given = [SegDataSample(metainfo=dict(img_path='a.png', ori_shape=(2, 2)))]
    (found,) = segmentor.postprocess_result(torch.full((1, 1, 2, 2), logit), given)
    found.gt_sem_seg = PixelData(data=torch.ones(1, 2, 2, dtype=torch.long))
    hook = CollectHook(str(tmp_path), 2)
    hook.after_test_iter(None, 0, None, [found])
    right = 4 * (torch.tensor(logit).sigmoid() > threshold).item()
    np.testing.assert_allclose(hook.bins.sum(0), [4, right, 4 * sure], rtol=1e-5)


def test_confidences_that_are_no_number(tmp_path: Path) -> None:
    hook = CollectHook(str(tmp_path), 2)
    confidence = torch.tensor([[[0.5, float('nan'), float('inf'), float('nan')]]])
    hook.after_test_iter(None, 0, None, [sample([[0, 1, 1, 255]], [[0, 0, 1, 1]], confidence=confidence)])
    assert hook.bins.sum(0).tolist() == [1, 1, 0.5] and hook.not_finite == 2


def test_more_classes_than_a_byte_holds(tmp_path: Path) -> None:
    hook = CollectHook(str(tmp_path), 400)
    hook.after_test_iter(None, 0, None, [sample([[300, 255, 44]], [[44, 300, 44]])])
    truth, predicted = read_maps(tmp_path, 0)
    assert truth.tolist() == [[300, 65535, 44]] and predicted.tolist() == [[44, 300, 44]]
    assert count(truth, predicted, 400).both[44] == 1 and count(truth, predicted, 400).truth.sum() == 2


def test_another_index_of_no_class(tmp_path: Path) -> None:
    hook = CollectHook(str(tmp_path), 3, ignore=2)
    hook.after_test_iter(None, 0, None, [sample([[0, 1, 2]], [[0, 1, 1]], confidence=torch.full((1, 1, 3), 0.5))])
    assert read_maps(tmp_path, 0)[0].tolist() == [[0, 1, 255]] and hook.bins.sum(0)[0] == 2


def test_annotations_are_known(tmp_path: Path) -> None:
    hook, one = CollectHook(str(tmp_path), 2), sample([[0]], [[0]])
    one.set_metainfo(dict(seg_map_path='masks/a.png'))
    hook.after_test_iter(None, 0, None, [one, one])
    assert hook.annotations == {str(Path('masks/a.png').resolve())}


def test_a_model_that_does_not_say(tmp_path: Path) -> None:
    hook = CollectHook(str(tmp_path), 1)
    hook.after_test_iter(None, 0, None, [sample([[0]], [[0]])])
    assert not hook.confident


def test_detectors(tmp_path: Path) -> None:
    hook, found = CollectHook(str(tmp_path), 1, detector=True), DetDataSample(metainfo=dict(img_path='b.png', img_id=7))
    found.pred_instances = InstanceData(bboxes=torch.zeros(0, 4))
    hook.after_test_iter(None, 0, None, [found])
    assert hook.ids == [7] and hook.pictures == [str(Path('b.png').resolve())] and not list(tmp_path.iterdir())
    with pytest.raises(InputError, match='expected CocoStatsMetric or CocoMetric in test_evaluator .* got another metric'):
        CollectHook(str(tmp_path), 1).after_test_iter(None, 0, None, [found])


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    hook, bare = CollectHook(str(tmp_path), 1), SegDataSample(metainfo=dict(img_path='a.png'))
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
