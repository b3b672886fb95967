"""A convolution layer for necks and heads that takes the faster way where it is the same."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from convnext_dense.kernels.guard import chosen
from convnext_dense.kernels.winograd import conv3x3, is_3x3


@MODELS.register_module()
class FastConv2d(nn.Conv2d):
    """nn.Conv2d whose 3x3 kernels of stride 1 run by `conv3x3`: `conv_cfg=dict(type='FastConv2d')` of any neck or head."""

    def forward(self, x: Tensor) -> Tensor:
        plain = chosen('auto', x) and is_3x3(self) and type(self.weight) in (Tensor, nn.Parameter)
        if not plain or torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        return conv3x3(x, self.weight, self.bias)
