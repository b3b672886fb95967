"""mmseg's loss and accuracy of a decode head, a few rows at a time (`kernels.cross_entropy`)."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.fcn_head import FCNHead
from mmseg.models.losses import accuracy
from mmseg.models.losses.cross_entropy_loss import CrossEntropyLoss, cross_entropy
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor
from torch.nn import functional

from convnext_dense.kernels import cross_entropy as cross_entropy_kernel
from convnext_dense.kernels.guard import chosen, expect_fused, is_plain


class StripLoss(BaseDecodeHead):
    """For a decode head with one plain cross entropy: the same `loss_by_feat`. Any other loss is left to mmseg."""

    def __init__(self, *args: Any, fused: bool | str = 'auto', **kwargs: Any) -> None:
        expect_fused(fused)
        super().__init__(*args, **kwargs)
        self.fused = fused

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Logits (B, C, h, w) to the loss and the accuracy in percent of the upsampled ones."""
        loss = self.loss_decode
        softmax = is_plain(loss, CrossEntropyLoss) and loss.cls_criterion is cross_entropy
        if softmax and isinstance(loss.class_weight, (list, tuple)) and loss.reduction == 'mean' and self.sampler is None:
            return self._weighted(seg_logits, batch_data_samples)
        plain = softmax and loss.class_weight is None
        few = self.fused == 'auto' and seg_logits.shape[1] < cross_entropy_kernel.MIN_CLASSES
        plain = plain and loss.reduction == 'mean' and self.sampler is None and not few
        if not (plain and chosen(self.fused, seg_logits)):
            if softmax:
                labels = self._stack_batch_gt(batch_data_samples)
                cross_entropy_kernel.check_labels(labels, seg_logits.shape[1], self.ignore_index)
            return super().loss_by_feat(seg_logits, batch_data_samples)
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        total, correct = cross_entropy_kernel.upsampled_cross_entropy(seg_logits, labels, self.ignore_index, self.align_corners)
        counted = (labels != self.ignore_index).sum()
        eps = torch.finfo(torch.float32).eps  # as in mmseg, where every pixel is ignored
        pixels = counted if loss.avg_non_ignore else labels.numel()
        value = loss.loss_weight * total / (pixels + eps)
        accuracy = (correct + eps) * (100 / (counted + eps))
        return {loss.loss_name: value, 'acc_seg': accuracy[None].float()}

    def _weighted(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """With class weights: the weighted mean over the pixels of a class, as PyTorch has it.

        mmseg's own looks the weight of an ignored pixel up under 255, and stops.
        """
        loss: Any = self.loss_decode
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        cross_entropy_kernel.check_labels(labels, seg_logits.shape[1], self.ignore_index)
        logits = resize(seg_logits, size=labels.shape[1:], mode='bilinear', align_corners=self.align_corners).float()
        weight = logits.new_tensor(loss.class_weight)
        total = functional.cross_entropy(logits, labels, weight, ignore_index=self.ignore_index, reduction='sum')
        counted = labels != self.ignore_index
        mean = total / (weight[labels.where(counted, 0)] * counted).sum().clamp(min=torch.finfo(torch.float32).eps)
        accurate = accuracy(logits, labels, ignore_index=self.ignore_index)
        return {loss.loss_name: loss.loss_weight * mean, 'acc_seg': accurate}


@MODELS.register_module()
class FastFCNHead(StripLoss, FCNHead):
    """mmseg's FCNHead with the loss in strips: same arguments, state dict and numbers. `fused` as `FastUPerHead`'s.

    By default few classes (`kernels.cross_entropy.MIN_CLASSES`) take mmseg's own loss, which is faster there.
    """
