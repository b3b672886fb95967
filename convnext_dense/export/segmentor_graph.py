"""A segmentor as one graph: bytes in, classes out, resizing, normalising and upsampling inside."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import UPerHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.export.filtered_conv_graph import LEAST_CHANNELS, conv3x3
from convnext_dense.export.picture_input import PictureInput
from convnext_dense.export.resampling import replace_baked
from convnext_dense.export.upsampled_conv_graph import conv_of_upsampled
from convnext_dense.kernels.winograd import is_3x3
from convnext_dense.segmentation.segmentor import LeanEncoderDecoder
from convnext_dense.segmentation.uper_head import folded_norm


class SegmentorGraph(nn.Module):
    """An EncoderDecoder (B, H, W, 3 of bytes in RGB) -> class map (B, H, W) and the head's logits (B, classes, h, w).

    The whole picture at once, whatever `test_cfg.mode` says. The logits are those before they are upsampled, so that a graph's
    output stays small. UPerHead's fusion is computed at each level's own resolution, as in `segmentation.uper_head`.

    Args:
        model: built, with its weights; it is copied.
        fused: fuse UPerHead's levels at their own resolution; else the layers as they are.
        filtered: of a fused head, see FusedUPerHead.
        resize: what the pipeline does before the model, as `picture_input.pipeline_resize` gives it.
        raw: take (B, C, h, w) that are resized and normalised already.

    Raises:
        InputError: for another kind of model or preprocessor.
    """

    def __init__(
        self,
        model: nn.Module,
        fused: bool = True,
        resize: Mapping[str, Any] | None = None,
        raw: bool = False,
        filtered: bool = True,
    ) -> None:
        super().__init__()
        check_segmentor(model)
        made: Any = copy.deepcopy(model).eval()
        self.picture = PictureInput(made.data_preprocessor, resize, raw)
        self.backbone, self.neck = made.backbone, made.neck if made.with_neck else nn.Identity()
        head = made.decode_head
        replace_baked(head)
        self.head = FusedUPerHead(head, filtered) if fused and isinstance(head, UPerHead) else head
        self.align_corners, self.threshold = made.align_corners, head.threshold if made.out_channels == 1 else None

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x, own = self.picture(image)
        logits = self.head(self.neck(self.backbone(x)))
        large = F.interpolate(logits, x.shape[2:], mode='bilinear', align_corners=self.align_corners)
        if self.picture.scaled is not None:  # in two steps, as in mmseg
            large = F.interpolate(large, own, mode='bilinear', align_corners=self.align_corners)
        if self.threshold is not None:
            return (large[:, 0].sigmoid() > self.threshold).to(torch.uint8), logits
        classes = large.argmax(dim=1)
        return classes.to(torch.uint8) if logits.shape[1] <= 256 else classes.to(torch.int32), logits


def check_segmentor(model: Any) -> None:
    """Stop where a model is none that the graph computes."""
    if type(model) not in (EncoderDecoder, LeanEncoderDecoder):  # not those derived from it, which may predict otherwise
        raise InputError(f'export: expected an EncoderDecoder of MMSegmentation, got {type(model).__name__}')
    head = type(model.decode_head)
    if head.predict_by_feat is not BaseDecodeHead.predict_by_feat:
        raise InputError(f"export: expected a head with MMSegmentation's own predict_by_feat, got {head.__name__}")


class FusedUPerHead(nn.Module):
    """UPerHead's logits, its two large convolutions taken at each map's own resolution.

    With `filtered`, what is convolved at the resolution of the FILTERED largest maps takes minimal filtering, where there are
    many channels. Integers of eight bits do not hold its transforms.
    """

    FILTERED = 2  # the products of smaller maps are few, and the transformed kernels four times as large as the kernels

    def __init__(self, head: UPerHead, filtered: bool = True) -> None:
        super().__init__()
        self.inner, self.align_corners = head, head.align_corners
        wide = filtered and head.channels >= LEAST_CHANNELS
        self.levels = self.FILTERED if wide else 0  # of the largest maps

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps of falling size -> (B, classes, h, w) of the first one's size."""
        head = self.inner
        maps = head._transform_inputs(inputs)
        laterals = [conv(x) for conv, x in zip(head.lateral_convs, maps)]
        x = maps[-1]
        laterals.append(self.fused(head.bottleneck, [x, *(pool(x) for pool in head.psp_modules)]))
        for i in range(len(laterals) - 1, 0, -1):
            size, corners = laterals[i - 1].shape[2:], self.align_corners
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size, mode='bilinear', align_corners=corners)
        outs = [self.convolved(conv, x, i < self.levels) for i, (conv, x) in enumerate(zip(head.fpn_convs, laterals))]
        return head.cls_seg(self.fused(head.fpn_bottleneck, [*outs, laterals[-1]]))

    def fused(self, module: Any, maps: Sequence[Tensor]) -> Tensor:
        """ConvModule of the maps, upsampled to the first one's size and concatenated."""
        weight, bias, normed = folded_weight(module)
        first, *rest = weight.split([x.shape[1] for x in maps], dim=1)
        large = self.levels > 0 and module is self.inner.fpn_bottleneck
        base = conv3x3(maps[0], first, bias) if large else F.conv2d(maps[0], first, bias, padding=1)
        return finished(module, conv_of_upsampled(base, maps[1:], rest, self.align_corners), normed)

    def convolved(self, module: Any, x: Tensor, filtered: bool) -> Tensor:
        """ConvModule of a map."""
        if not filtered or not is_3x3(module.conv):
            return module(x)
        weight, bias, normed = folded_weight(module)
        return finished(module, conv3x3(x, weight, bias), normed)


def folded_weight(module: Any) -> tuple[Tensor, Tensor | None, bool]:
    """A ConvModule's weight and bias, its norm within them; and whether it is."""
    weight, bias, folded = module.conv.weight, module.conv.bias, folded_norm(module)
    if folded is None:
        return weight, bias, False
    scale, shift = folded
    return weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift, True


def finished(module: Any, x: Tensor, normed: bool) -> Tensor:
    """A ConvModule's norm, where it is not within the weight, and activation."""
    if module.with_norm and not normed:
        x = module.norm(x)
    return module.activate(x) if module.with_activation else x
