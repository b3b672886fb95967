"""Masks pasted by products of matrices are those of mmdet's grid_sample."""

import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

from convnext_dense.export.pasting import pasted


def test_as_mmdet_pastes() -> None:
    torch.manual_seed(0)
    boxes = torch.rand(20, 4) * 100
    boxes[:, 2:] = boxes[:, :2] + torch.rand(20, 2) * 80
    boxes[0, 2] = boxes[0, 0]  # without area
    boxes[1] = torch.tensor([-10.0, -10.0, 300.0, 300.0])  # beyond the picture
    masks = torch.rand(20, 28, 28)
    want = _do_paste_mask(masks[:, None], boxes, 121, 153, skip_empty=False)[0]
    got = pasted(masks[None], boxes[None], (121, 153))[0]
    torch.testing.assert_close(got, want, atol=2e-6, rtol=0)
    assert ((got >= 0.5) == (want >= 0.5)).all() and (want >= 0.5).any() and not got[2, -1].any()
