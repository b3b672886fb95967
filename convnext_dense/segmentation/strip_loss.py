"""mmseg's loss and accuracy of a decode head, a few rows at a time (`kernels.cross_entropy`)."""

from __future__ import annotations

import torch
from mmseg.models.decode_heads.fcn_head import FCNHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

from convnext_dense.kernels.compiling import recording
from convnext_dense.kernels.cross_entropy import upsampled_cross_entropy


class StripLoss:
    """For a decode head with one plain cross entropy: the same `loss_by_feat`. Any other loss is left to mmseg."""

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Logits (B, C, h, w) to the loss and the accuracy in percent of the upsampled ones."""
        loss = self.loss_decode
        plain = type(loss) is CrossEntropyLoss and not (loss.use_sigmoid or loss.use_mask) and loss.class_weight is None
        if not plain or loss.reduction != 'mean' or self.sampler is not None or recording():
            return super().loss_by_feat(seg_logits, batch_data_samples)
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        total, correct = upsampled_cross_entropy(seg_logits, labels, self.ignore_index, self.align_corners)
        counted = (labels != self.ignore_index).sum()
        eps = torch.finfo(torch.float32).eps  # as in mmseg, where every pixel is ignored
        pixels = counted if loss.avg_non_ignore else labels.numel()
        value = loss.loss_weight * total / (pixels + eps)
        accuracy = (correct + eps) * (100 / (counted + eps))
        return {loss.loss_name: value, 'acc_seg': accuracy[None].float()}


@MODELS.register_module()
class FastFCNHead(StripLoss, FCNHead):
    """mmseg's FCNHead with the loss in strips: same arguments, state dict and numbers."""
