"""ConvNeXt without stages (arXiv 2201.03545, section 3.3 and table 2): one width and one resolution, as in a ViT.

Its dense heads are given the simple pyramid of ViTDet (arXiv 2203.16527, section 3), made of the single map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.expect import brief, expect_number, whole
from convnext_dense.kernels.compiled_conv import Conv2d
from convnext_dense.kernels.guard import expect_fused
from convnext_dense.models.archs import EPS
from convnext_dense.models.convnext import Block, LayerNorm2d
from convnext_dense.models.pyramid import Pretrainable, check_image, check_input, drop_rates
from convnext_dense.text import did_you_mean

PATCH = 16
# Blocks and channels, table 2.
ISOTROPIC = {'small': (18, 384), 'base': (18, 768), 'large': (36, 1024)}


@MODELS.register_module()
class IsotropicConvNeXt(Pretrainable):
    """A 16x16 patchify stem, then blocks of one width; a single map of stride 16, for `SimplePyramid`.

    Names are those of the official code: `stem`, `blocks.i.*`, `norm`.

    Args:
        arch: 'small', 'base' or 'large'.
        in_channels, drop_path_rate, layer_scale_init_value, fused, init_cfg: as of `ConvNeXt`; the official ones have no layer
            scale.
        frozen_blocks: -1 trains everything, 0 freezes the stem, k also the first k blocks.

    Raises:
        InputError: for a wrong argument, with the accepted values.
    """

    def __init__(
        self,
        arch: str = 'small',
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
        frozen_blocks: int = -1,
        fused: bool | str = 'auto',
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not isinstance(arch, str) or arch not in ISOTROPIC:
            known = ', '.join(ISOTROPIC)
            raise InputError(f'arch: expected one of {known}; got {arch!r}{did_you_mean(str(arch), ISOTROPIC)}')
        depth, width = ISOTROPIC[arch]
        check_input(in_channels, drop_path_rate)
        expect_number('layer_scale_init_value', layer_scale_init_value, 0)
        expect_fused(fused)
        if not (whole(frozen_blocks, -1) and frozen_blocks <= depth):
            raise InputError(f'frozen_blocks: expected -1 (none), 0 (stem) or 1 to {depth}, got {brief(frozen_blocks)}')
        self.depths = (depth,)
        self.out_indices, self.out_channels, self.out_strides = (0,), (width,), (PATCH,)
        self.frozen_blocks = frozen_blocks
        self.stem = Conv2d(in_channels, width, kernel_size=PATCH, stride=PATCH)
        (rates,) = drop_rates(drop_path_rate, self.depths)
        self.blocks = nn.Sequential(
            *(Block(width, rate, layer_scale_init_value=layer_scale_init_value, fused=fused) for rate in rates)
        )
        self.norm = LayerNorm2d(width, eps=EPS)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W), H and W from 32 up -> one map (B, width, H // 16, W // 16)."""
        check_image(x, self.stem)
        x = x.contiguous(memory_format=torch.channels_last)
        return (self.norm(self.blocks(self.stem(x))),)

    def train(self, mode: bool = True) -> IsotropicConvNeXt:
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        frozen = [self.stem, *self.blocks[: self.frozen_blocks]] if self.frozen_blocks >= 0 else []
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


@MODELS.register_module()
class SimplePyramid(nn.Module):
    """Maps of strides 4, 8, 16 and 32 of a single map of stride 16: two transposed convolutions, one, none, pooling.

    Each is followed by a 1x1 and a 3x3 convolution with LayerNorm. A neck for the heads of both libraries.

    Args:
        in_channels: of the map; or a list of one number.
        out_channels: of all maps.
        num_outs: 4, or 5 with a map of stride 64, which a detector's RPN wants.

    Raises:
        InputError: for a wrong argument.
    """

    def __init__(self, in_channels: int | Sequence[int], out_channels: int = 256, num_outs: int = 4) -> None:
        super().__init__()
        given: list[Any] = list(in_channels) if isinstance(in_channels, (list, tuple)) else [in_channels]
        if len(given) != 1 or not whole(given[0], 4):
            raise InputError(f'in_channels: expected the channels of one map, from 4 up, got {brief(in_channels)}')
        if not whole(out_channels, 1):
            raise InputError(f'out_channels: expected a whole number from 1 up, got {brief(out_channels)}')
        if num_outs not in (4, 5):
            raise InputError(f'num_outs: expected 4, or 5 with a map of stride 64, got {brief(num_outs)}')
        width: int = given[0]
        self.in_channels, self.out_channels, self.num_outs = [width], out_channels, num_outs
        half, quarter = width // 2, width // 4
        quadruple = nn.Sequential(
            nn.ConvTranspose2d(width, half, 2, 2),
            LayerNorm2d(half, eps=EPS),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, 2),
        )
        scales = [(quadruple, quarter), (nn.ConvTranspose2d(width, half, 2, 2), half), (nn.Identity(), width)]
        scales.append((nn.MaxPool2d(2, 2), width))
        self.levels = nn.ModuleList(
            nn.Sequential(
                scale,
                Conv2d(channels, out_channels, 1, bias=False),
                LayerNorm2d(out_channels, eps=EPS),
                Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                LayerNorm2d(out_channels, eps=EPS),
            )
            for scale, channels in scales
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (B, in_channels, h, w) -> (B, out_channels, 4 h, 4 w), …, (B, out_channels, h // 2, w // 2)."""
        if len(maps) != 1:
            raise InputError(f'expected one map, got {len(maps)}; it is for a backbone of one resolution')
        if maps[0].shape[1] != self.in_channels[0]:
            raise InputError(f'SimplePyramid: expected a map of {self.in_channels[0]} channels, got {maps[0].shape[1]}')
        outs = [level(maps[0]) for level in self.levels]
        if self.num_outs == 5:
            outs.append(outs[-1][:, :, ::2, ::2])
        return tuple(outs)
