"""PasteMaskHead's masks are FCNMaskHead's, bit for bit."""

import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from convnext_dense.detection import PasteMaskHead
from convnext_dense.detection.rpn_head import FastRPNHead

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


def test_a_logit_of_0_is_in_the_mask() -> None:
    """Its probability is the threshold of 0.5 exactly."""
    logits, boxes = torch.zeros(1, 1, 32, 32), torch.tensor([[4.0, 4.0, 36.0, 36.0]])  # a pixel each: nothing is rounded
    meta, test_cfg = dict(scale_factor=(2.0, 2.0), ori_shape=(20, 20)), ConfigDict(mask_thr_binary=0.5)
    for kind in (PasteMaskHead, FCNMaskHead):
        head = kind(**SETTINGS, class_agnostic=True)
        masks = head._predict_by_feat_single(logits, boxes.clone(), torch.zeros(1, dtype=torch.long), meta, test_cfg)
        assert masks[0, 4:36, 4:36].all() and masks.sum() == 32 * 32


def test_the_heads_are_found_by_name() -> None:
    for kind in (PasteMaskHead, FastRPNHead):
        assert MODELS.get(kind.__name__) is kind
