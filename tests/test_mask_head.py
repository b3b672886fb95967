"""PasteMaskHead's masks are FCNMaskHead's, bit for bit; FastRPNHead's maps are RPNHead's."""

import pytest
import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from convnext_dense.detection import FastRPNHead, PasteMaskHead

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


def test_the_rpn_heads_maps() -> None:
    with DefaultScope.overwrite_default_scope('mmdet'):  # whatever a test before has left
        fast, plain = (kind(in_channels=4, feat_channels=8).double().eval() for kind in (FastRPNHead, RPNHead))
    fast.load_state_dict(plain.state_dict())
    maps = [torch.randn(2, 4, side, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) for side in (7, 12)]
    for ours, theirs in zip(fast(maps), plain(maps)):
        torch.testing.assert_close(ours, theirs)
