"""FCNMaskHead whose masks are pasted and kept in the order in which COCO's run lengths are counted: column by column.

mmdet pastes into (N, H, W) and transposes every whole image again to encode it. Here the same samples are written into
(N, W, H) memory, which pycocotools encodes without a copy. Bit-equal to FCNMaskHead's masks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import FCNMaskHead, _do_paste_mask
from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PasteMaskHead(FCNMaskHead):
    """A drop-in for FCNMaskHead: same arguments, weights and masks; faster evaluation on the CPU."""

    def _predict_by_feat_single(
        self,
        mask_preds: Tensor,
        bboxes: Tensor,
        labels: Tensor,
        img_meta: dict[str, Any],
        rcnn_test_cfg: Any,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> Tensor:
        """mask_preds (N, classes, h, w) logits, bboxes (N, 4) in image pixels -> (N, H, W) bool."""
        threshold = rcnn_test_cfg.mask_thr_binary
        if bboxes.device.type != 'cpu' or threshold < 0:
            return super()._predict_by_feat_single(mask_preds, bboxes, labels, img_meta, rcnn_test_cfg, rescale, activate_map)
        height, width = img_meta['ori_shape'][:2]
        scale = bboxes.new_tensor(img_meta['scale_factor']).repeat(1, 2)
        if rescale:
            bboxes /= scale  # in place, as in mmdet: the results hold this tensor
        else:
            height, width = (int(np.round(side * scale[0, i].item())) for i, side in ((1, height), (0, width)))
        if not self.class_agnostic:
            mask_preds = mask_preds[torch.arange(len(labels)), labels][:, None]
        mask_preds = mask_preds.to(bboxes) if activate_map else mask_preds.sigmoid()
        masks = torch.zeros(len(bboxes), width, height, dtype=torch.bool)
        for i in range(len(bboxes)):
            part, (rows, columns) = _do_paste_mask(mask_preds[i : i + 1], bboxes[i : i + 1], height, width)
            masks[i, columns, rows] = (part[0] >= threshold).T
        return masks.transpose(1, 2)
