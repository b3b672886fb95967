"""UPerHead (arXiv 1807.10221) with mmseg's arguments, parameters and outputs, and fewer multiplications.

The pooling module's bottleneck and the fusion of the four levels convolve maps that were upsampled first.
`kernels.upsampled_conv` takes their products at each map's own resolution, where that is less work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model.utils import _BatchNormXd
from mmseg.models.decode_heads import UPerHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.kernels.compiling import recording
from convnext_dense.kernels.guard import chosen, is_plain
from convnext_dense.kernels.upsampled_conv import conv_of_upsampled, fewer_multiplications
from convnext_dense.kernels.winograd import conv3x3, is_3x3
from convnext_dense.segmentation.strip_loss import StripLoss

BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, _BatchNormXd)  # the last is what mmengine makes of SyncBN on one device


@MODELS.register_module()
class FastUPerHead(StripLoss, UPerHead):
    """A drop-in for mmseg's UPerHead: same arguments, state dict, outputs and gradients.

    `fused`: 'auto' (default) takes the faster paths on the CPU, where maps are not too small, and mmseg's elsewhere; True takes
    them everywhere, False nowhere.
    """

    def _work(self, x: Tensor) -> int:
        return x.shape[0] * x.shape[2] * x.shape[3] * self.channels**2

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The last map with its pooled versions, (B, channels, h, w)."""
        x = inputs[-1]
        if not chosen(self.fused, x, self._work(x)):
            return super().psp_forward(inputs)
        return fused_conv(self.bottleneck, [x, *(pool(x) for pool in self.psp_modules)], self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps of falling size, to (B, channels, H, W) of the first one's."""
        if not isinstance(inputs, (list, tuple)) or len(inputs) <= max(self.in_index):
            got = f'{len(inputs)} maps' if isinstance(inputs, (list, tuple)) else type(inputs).__name__
            raise InputError(f'input: expected the maps of in_index={list(self.in_index)}, got {got}')
        maps = self._transform_inputs(inputs)
        shapes = [] if recording() else [tuple(x.shape) for x in maps]
        if any(len(shape) != 4 or shape[1] != channels for shape, channels in zip(shapes, self.in_channels)):
            raise InputError(f'input: expected maps (B, C, H, W) of in_channels={list(self.in_channels)}, got {shapes}')
        if not chosen(self.fused, maps[0], self._work(maps[0])):
            return super()._forward_feature(inputs)
        laterals = [convolve(conv, x) for conv, x in zip(self.lateral_convs, maps)]
        laterals.append(self.psp_forward(maps))
        for i in range(len(laterals) - 1, 0, -1):
            size = laterals[i - 1].shape[2:]
            add = torch.Tensor.add if torch.is_grad_enabled() else torch.Tensor.add_
            laterals[i - 1] = add(laterals[i - 1], upsampled(laterals[i], size, self.align_corners))
        outs = [convolve(conv, laterals.pop(0)) for conv in self.fpn_convs]  # a level is let go when it is used
        return fused_conv(self.fpn_bottleneck, [*outs, *laterals], self.align_corners)


def convolve(module: ConvModule, x: Tensor) -> Tensor:
    """ConvModule's output; in inference its batch norm is folded into the weight, where that is less work."""
    if not _plain(module):
        return module(x)
    conv = module.conv
    weight, bias, folded = conv.weight, conv.bias, folded_norm(module)
    if folded is not None and x.numel() > weight.numel():
        scale, shift = folded
        weight, bias = weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift
        return _activated(module, _conv(conv, x, weight, bias))
    return _normalised(module, _conv(conv, x, weight, bias))


def fused_conv(module: ConvModule, maps: Sequence[Tensor], align_corners: bool) -> Tensor:
    """ConvModule of the maps, upsampled to the first one's size and concatenated."""
    conv, size = module.conv, maps[0].shape[2:]
    usual = _plain(module) and is_3x3(conv)
    low = [i for i, m in enumerate(maps) if usual and i > 0 and fewer_multiplications(size, m.shape[2:], m.shape[1])]
    full = [i for i in range(len(maps)) if i not in low]
    if not low:
        return module(torch.cat([upsampled(m, size, align_corners) for m in maps], dim=1))
    weights = conv.weight.split([m.shape[1] for m in maps], dim=1)
    device = maps[0].device.type
    if torch.is_autocast_enabled(device):
        maps, weights = ([t.to(torch.get_autocast_dtype(device)) for t in ts] for ts in (maps, weights))
    with torch.autocast(device, enabled=False):
        x = _concatenated([upsampled(maps[i], size, align_corners) for i in full])
        bias = None if conv.bias is None else conv.bias.to(x.dtype)
        base = conv3x3(x, _concatenated([weights[i] for i in full]), bias)
        out = conv_of_upsampled(base, [maps[i] for i in low], [weights[i] for i in low], align_corners)
    return _normalised(module, out)


def _concatenated(tensors: list[Tensor]) -> Tensor:
    """Along the channels; a single one as it is, without a copy."""
    return torch.cat(tensors, dim=1) if len(tensors) > 1 else tensors[0]


def _normalised(module: ConvModule, x: Tensor) -> Tensor:
    """Norm and activation of a ConvModule; may overwrite `x`."""
    folded = folded_norm(module)
    if folded is not None:
        scale, shift = (t[:, None, None].to(x.dtype) for t in folded)
        x = torch.addcmul(shift, x, scale, out=x)
    elif module.with_norm:
        x = module.norm(x)
    return _activated(module, x)


def _activated(module: ConvModule, x: Tensor) -> Tensor:
    if not module.with_activation:
        return x
    if type(module.activate) is nn.ReLU and not torch.is_grad_enabled():
        return x.relu_()
    return module.activate(x)


def _conv(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if is_3x3(conv) and not torch.is_autocast_enabled(x.device.type):
        return conv3x3(x, weight, bias)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding)


def upsampled(x: Tensor, size: torch.Size, align_corners: bool) -> Tensor:
    if not torch.jit.is_tracing() and x.shape[2:] == size:
        return x
    return F.interpolate(x, size, mode='bilinear', align_corners=align_corners)


def folded_norm(module: ConvModule) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of a ConvModule's batch norm in inference; None where there is none, or where gradients are taken."""
    norm: Any = module.norm if module.with_norm else None
    if type(norm) not in BATCH_NORMS or norm.training or norm.running_var is None or norm.weight is None:
        return None
    if torch.is_grad_enabled():
        return None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _plain(module: ConvModule) -> bool:
    """Whether it is the usual convolution, in which a channel's weight multiplies a channel, then norm, then activation.

    Whatever watches one of its layers or stands in its place is left to the module itself.
    """
    conv = module.conv
    rest = [
        getattr(module, name) for name, there in (('norm', module.with_norm), ('activate', module.with_activation)) if there
    ]
    plain = is_plain(module, ConvModule) and is_plain(conv, nn.Conv2d) and all(is_plain(layer, type(layer)) for layer in rest)
    usual = plain and (conv.groups, conv.dilation, conv.padding_mode) == (1, (1, 1), 'zeros')
    return usual and module.order == ('conv', 'norm', 'act') and not (module.with_explicit_padding or module.with_spectral_norm)
