"""UPerHead (arXiv 1807.10221) with mmseg's arguments, parameters and outputs, and fewer multiplications.

The pooling module's bottleneck and the fusion of the four levels convolve maps that were upsampled first.
`kernels.upsampled_conv` takes their products at each map's own resolution, where that is less work.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import UPerHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.kernels.compiling import recording
from convnext_dense.kernels.upsampled_conv import conv_of_upsampled, fewer_multiplications
from convnext_dense.kernels.winograd import conv3x3, is_3x3
from convnext_dense.segmentation.strip_loss import StripLoss


@MODELS.register_module()
class FastUPerHead(StripLoss, UPerHead):
    """A drop-in for mmseg's UPerHead: same arguments, state dict, outputs and gradients."""

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The last map with its pooled versions, (B, channels, h, w)."""
        x = inputs[-1]
        return fused_conv(self.bottleneck, [x, *(pool(x) for pool in self.psp_modules)], self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps of falling size, to (B, channels, H, W) of the first one's."""
        if not isinstance(inputs, (list, tuple)) or len(inputs) <= max(self.in_index):
            got = f'{len(inputs)} maps' if isinstance(inputs, (list, tuple)) else type(inputs).__name__
            raise InputError(f'input: expected the maps of in_index={list(self.in_index)}, got {got}')
        inputs = self._transform_inputs(inputs)
        shapes = [] if recording() else [tuple(x.shape) for x in inputs]
        if any(len(shape) != 4 or shape[1] != channels for shape, channels in zip(shapes, self.in_channels)):
            raise InputError(f'input: expected maps (B, C, H, W) of in_channels={list(self.in_channels)}, got {shapes}')
        laterals = [convolve(conv, x) for conv, x in zip(self.lateral_convs, inputs)]
        laterals.append(self.psp_forward(inputs))
        for i in range(len(laterals) - 1, 0, -1):
            size = laterals[i - 1].shape[2:]
            add = torch.Tensor.add if torch.is_grad_enabled() else torch.Tensor.add_
            laterals[i - 1] = add(laterals[i - 1], upsampled(laterals[i], size, self.align_corners))
        outs = [convolve(conv, laterals.pop(0)) for conv in self.fpn_convs]  # a level is let go when it is used
        return fused_conv(self.fpn_bottleneck, [*outs, *laterals], self.align_corners)


def convolve(module: ConvModule, x: Tensor) -> Tensor:
    """ConvModule's output; in inference its batch norm is folded into the weight, where that is less work."""
    if not _plain(module) or recording():
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
    low = [False]
    if _plain(module) and is_3x3(conv) and not recording():
        low = [i > 0 and fewer_multiplications(size, m.shape[2:], m.shape[1]) for i, m in enumerate(maps)]
    if not any(low):
        return module(torch.cat([upsampled(m, size, align_corners) for m in maps], dim=1))
    weights = conv.weight.split([m.shape[1] for m in maps], dim=1)
    kind = maps[0].device.type
    if torch.is_autocast_enabled(kind):
        maps, weights = ([t.to(torch.get_autocast_dtype(kind)) for t in ts] for ts in (maps, weights))
    with torch.autocast(kind, enabled=False):
        whole = [i for i, is_low in enumerate(low) if not is_low]
        full = [upsampled(maps[i], size, align_corners) for i in whole]
        x, kernel = (torch.cat(ts, dim=1) if len(whole) > 1 else ts[0] for ts in (full, [weights[i] for i in whole]))
        bias = None if conv.bias is None else conv.bias.to(x.dtype)
        base = conv3x3(x, kernel, bias).contiguous(memory_format=torch.channels_last)
        lower = [i for i, is_low in enumerate(low) if is_low]
        out = conv_of_upsampled(base, [maps[i] for i in lower], [weights[i] for i in lower], align_corners)
    return _normalised(module, out)


def _normalised(module: ConvModule, x: Tensor) -> Tensor:
    """ConvModule after its convolution; x is not needed any more."""
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
    norm = module.norm if module.with_norm else None
    fixed = isinstance(norm, nn.modules.batchnorm._BatchNorm) and not norm.training and norm.running_var is not None
    if not fixed or torch.is_grad_enabled() or recording():
        return None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _plain(module: ConvModule) -> bool:
    """Whether it is the usual convolution, in which a channel's weight multiplies a channel, then norm, then activation."""
    conv = module.conv
    usual = (conv.groups, conv.dilation, conv.padding_mode) == (1, (1, 1), 'zeros') if type(conv) is nn.Conv2d else False
    watched = usual and (conv._forward_hooks or conv._forward_pre_hooks or module.with_spectral_norm)
    return usual and not watched and module.order == ('conv', 'norm', 'act') and not module.with_explicit_padding
