"""Each network on the way from a ResNet to ConvNeXt as a dense-prediction backbone (arXiv 2201.03545, section 2).

`models.roadmap_steps` says what each step changes. The first is torchvision's ResNet, the last ConvNeXt without layer scale,
under its names; the names of those between are `downsample_layers.0.i` for the stem, and `stages.i.j.{conv1,norm1,…,shortcut}`.

Legend: B images, C channels, H W height and width in pixels of the map at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from convnext_dense.kernels.compiled_conv import Conv2d
from convnext_dense.kernels.guard import expect_fused
from convnext_dense.models import convnext
from convnext_dense.models.archs import EPS
from convnext_dense.models.convnext import LayerNorm2d
from convnext_dense.models.pyramid import Pyramid, check_input, drop_rates, kept_branches
from convnext_dense.models.roadmap_steps import Design, design_of


class Block(nn.Module):
    """Three convolutions and a shortcut: ResNet's bottleneck, and what the steps make of it.

    The first block of a stage halves the map, in its spatial convolution and its shortcut.
    """

    def __init__(self, design: Design, into: int, width: int, stride: int, drop_path: float) -> None:
        super().__init__()
        inside, out = (4 * width, width) if design.inverted else (width, 4 * width)
        if design.moved_up:
            self.conv1 = _spatial(design, into, stride)
            self.conv2 = _conv(design, into, inside, normed=not design.one_norm)
        else:
            self.conv1 = _conv(design, into, inside)
            self.conv2 = _spatial(design, inside, stride)
        self.conv3 = _conv(design, inside, out, normed=not design.one_norm)
        self.norm1 = norm_of(design, self.conv1.out_channels)
        self.norm2 = nn.Identity() if design.one_norm else norm_of(design, inside)
        self.norm3 = nn.Identity() if design.one_norm else norm_of(design, out)
        self.act1 = nn.Identity() if design.one_act else design.act()
        self.act2 = design.act()  # between the two 1x1 convolutions, once these follow each other
        self.act3 = nn.Identity() if design.one_act else design.act()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or into != out:
            self.shortcut = nn.Sequential(_conv(design, into, out, stride=stride), norm_of(design, out))
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) -> (B, out, H, W), of half the height and width in the first block of a later stage."""
        keep = kept_branches(self, x, self.drop_path)
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.act2(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if keep is not None:
            y = y * keep[:, None, None, None]
        return self.act3(self.shortcut(x) + y)


def _conv(design: Design, into: int, out: int, normed: bool = True, stride: int = 1) -> nn.Conv2d:
    return Conv2d(into, out, 1, stride, bias=not normed)


def _spatial(design: Design, channels: int, stride: int) -> nn.Conv2d:
    groups = channels if design.depthwise else 1
    return Conv2d(channels, channels, design.kernel, stride, design.kernel // 2, groups=groups, bias=False)


def norm_of(design: Design, channels: int) -> nn.Module:
    return LayerNorm2d(channels, eps=EPS) if design.layer_norm else nn.BatchNorm2d(channels)


@MODELS.register_module()
class RoadmapNet(Pyramid):
    """A network of the walk; its maps are those of `ConvNeXt`, for the same heads.

    The last step's maps have ConvNeXt's output norms, which come with its norms at every change of resolution; the others none.
    An odd side is halved to the larger half by ResNet's layers, to the smaller one by the patchify stem and the last step's
    downsampling.

    Args:
        step: a name of `roadmap_steps.STEPS`.
        size: 'tiny', from ResNet-50 to ConvNeXt-T, or 'base', from ResNet-200 to ConvNeXt-B.
        in_channels, drop_path_rate, out_indices, frozen_stages: as of `ConvNeXt`.
        fused: of the last step's blocks, as of `ConvNeXt`; the others have plain layers.
        init_cfg: as of `ConvNeXt`; takes a checkpoint of the same step, of torchvision's ResNet for the first two, and of
            ConvNeXt without layer scale for the last.

    Raises:
        InputError: for a wrong argument, with the accepted values.
    """

    def __init__(
        self,
        step: str = 'downsample',
        size: str = 'tiny',
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        fused: bool | str = 'auto',
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        design = design_of(step, size)
        widths = [design.width * 2**i for i in range(4)]
        dims = widths if design.inverted else [4 * width for width in widths]
        super().__init__(design.depths, dims, out_indices, frozen_stages, init_cfg)
        check_input(in_channels, drop_path_rate)
        expect_fused(fused)
        self.step, self.size, self.design = step, size, design
        rates = drop_rates(drop_path_rate, design.depths)
        self.downsample_layers = nn.ModuleList([stem_of(design, in_channels), *(nn.Identity() for _ in range(3))])
        if design.separate:
            for i, (before, after) in enumerate(pairwise(dims), 1):
                halve = Conv2d(before, after, kernel_size=2, stride=2)
                self.downsample_layers[i] = nn.Sequential(norm_of(design, before), halve)
            blocks: list[list[nn.Module]] = [
                [convnext.Block(dim, rate, layer_scale_init_value=0.0, fused=fused) for rate in own]
                for dim, own in zip(dims, rates)
            ]
        else:
            before = [design.width, *dims]
            blocks = [
                [Block(design, before[i + bool(j)], width, 2 if i and not j else 1, rate) for j, rate in enumerate(own)]
                for i, (width, own) in enumerate(zip(widths, rates))
            ]
        self.stages = nn.ModuleList(nn.Sequential(*own) for own in blocks)
        for i in self.out_indices:
            self.add_module(f'norm{i}', norm_of(design, dims[i]) if design.separate else nn.Identity())
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                if design.layer_norm:  # as in ConvNeXt
                    nn.init.trunc_normal_(module.weight, std=0.02)
                else:  # as in ResNet
                    nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self._freeze()


def stem_of(design: Design, in_channels: int) -> nn.Sequential:
    """(B, in_channels, H, W) -> (B, width, H / 4, W / 4)."""
    width = design.width
    act = nn.Identity() if design.one_act else design.act()
    if design.patchify:
        conv = Conv2d(in_channels, width, kernel_size=4, stride=4, bias=design.separate)
        return nn.Sequential(conv, norm_of(design, width), act)
    conv = Conv2d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=False)
    return nn.Sequential(conv, norm_of(design, width), act, nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
