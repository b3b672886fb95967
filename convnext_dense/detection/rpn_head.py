"""RPNHead with the faster equal convolution."""

from __future__ import annotations

from mmdet.models.dense_heads.rpn_head import RPNHead
from mmdet.registry import MODELS
from torch import nn

from convnext_dense.detection.fast_conv import FastConv2d


@MODELS.register_module()
class FastRPNHead(RPNHead):
    """A drop-in for RPNHead, which takes no `conv_cfg`: same arguments, weights and proposals."""

    def _init_layers(self) -> None:
        super()._init_layers()
        if type(self.rpn_conv) is nn.Conv2d:
            self.rpn_conv: nn.Module = FastConv2d(self.in_channels, self.feat_channels, 3, padding=1)
