"""PasteMaskHead's masks are FCNMaskHead's, bit for bit."""

import copy

import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from convnext_dense.detection import PasteMaskHead

SETTINGS = dict(num_convs=1, in_channels=4, conv_out_channels=4, num_classes=3)
BOXES = torch.tensor(
    [
        [3.2, 4.1, 30.7, 25.3],
        [-8.0, -5.0, 12.0, 9.0],  # over the border
        [60.0, 40.0, 200.0, 160.0],
        [10.0, 10.0, 10.0, 30.0],  # no width
        [0.0, 0.0, 77.0, 53.0],  # the whole image
        [20.4, 20.4, 20.9, 20.9],  # less than a pixel
    ]
)


def masks_of(kind: type, rescale: bool, agnostic: bool, activated: bool, threshold: float, boxes=BOXES) -> torch.Tensor:
    head = kind(**SETTINGS, class_agnostic=agnostic)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(boxes), 1 if agnostic else 3, 28, 28, generator=generator) * 3
    logits = logits.sigmoid() if activated else logits
    labels = torch.arange(len(boxes)) % 3
    meta = dict(scale_factor=(1.5, 1.25), ori_shape=(53, 77))
    test_cfg = ConfigDict(mask_thr_binary=threshold)
    given = boxes.clone()
    masks = head._predict_by_feat_single(logits, given, labels, meta, test_cfg, rescale, activated)
    return torch.cat([masks.flatten(), given.flatten()])  # the boxes are rescaled in place


@pytest.mark.parametrize('threshold', [0.5, 0.3, -1])
@pytest.mark.parametrize('activated', [False, True])
@pytest.mark.parametrize('agnostic', [False, True])
@pytest.mark.parametrize('rescale', [False, True])
def test_bit_equal(rescale: bool, agnostic: bool, activated: bool, threshold: float) -> None:
    ours, theirs = (masks_of(kind, rescale, agnostic, activated, threshold) for kind in (PasteMaskHead, FCNMaskHead))
    assert torch.equal(ours, theirs)
    assert 0 < ours[: -BOXES.numel()].float().mean() < 255


@pytest.mark.parametrize('rescale', [False, True])
def test_an_image_without_boxes_beside_one_with(rescale: bool) -> None:
    """The plain head's masks for both: none of the image's size, and those of the other."""
    none, some = InstanceData(bboxes=BOXES[:0], labels=torch.zeros(0, dtype=torch.long)), InstanceData(bboxes=BOXES)
    some.labels = torch.arange(len(BOXES)) % 3
    logits = torch.randn(len(BOXES), 3, 28, 28, generator=torch.Generator().manual_seed(0))
    metas = [dict(scale_factor=(1.5, 1.25), ori_shape=(53, 77))] * 2
    results = []
    for kind in (PasteMaskHead, FCNMaskHead):
        given = (logits[:0], logits), [copy.deepcopy(none), copy.deepcopy(some)], metas, ConfigDict(mask_thr_binary=0.5)
        results.append([(found.masks, found.bboxes) for found in kind(**SETTINGS).predict_by_feat(*given, rescale=rescale)])
    for (ours, our_boxes), (theirs, boxes) in zip(*results, strict=True):
        assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype and torch.equal(our_boxes, boxes)
    assert len(results[0][0][0]) == 0 and len(results[0][1][0]) == len(BOXES)


def test_no_boxes_have_no_masks() -> None:
    """Asked directly too, where mmdet's head stops."""
    meta, none = dict(scale_factor=(1.5, 1.25), ori_shape=(53, 77)), torch.zeros(0, dtype=torch.long)
    given = torch.zeros(0, 3, 28, 28), BOXES[:0], none, meta, ConfigDict(mask_thr_binary=0.5)
    masks = PasteMaskHead(**SETTINGS)._predict_by_feat_single(*given, rescale=True)
    assert masks.shape == (0, 53, 77) and masks.dtype == torch.bool


def test_found_by_name() -> None:
    assert MODELS.get('PasteMaskHead') is PasteMaskHead


def test_same_weights() -> None:
    ours, theirs = PasteMaskHead(**SETTINGS).state_dict(), FCNMaskHead(**SETTINGS).state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


@pytest.mark.parametrize('kind', [PasteMaskHead, FCNMaskHead])
def test_a_logit_at_the_threshold_is_mask(kind: type) -> None:
    """A probability of 0.5 counts as mask, as `>=` has it."""
    boxes, meta = torch.tensor([[2.0, 1.0, 6.0, 5.0]]), dict(scale_factor=(1.0, 1.0), ori_shape=(8, 9))
    head, test_cfg = kind(**SETTINGS), ConfigDict(mask_thr_binary=0.5)
    masks = head._predict_by_feat_single(torch.zeros(1, 3, 28, 28), boxes, torch.tensor([1]), meta, test_cfg, True)
    expected = torch.zeros(1, 8, 9, dtype=torch.bool)
    expected[:, 1:5, 2:6] = True
    assert torch.equal(masks, expected)
