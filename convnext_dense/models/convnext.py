"""ConvNeXt as a dense-prediction backbone ("A ConvNet for the 2020s", arXiv 2201.03545, section 2 and figure 4), and V2
(arXiv 2301.00808), which replaces layer scale by GRN.

State-dict names are the official ones: `downsample_layers.i.j`, `stages.i.j.{dwconv,norm,pwconv1,pwconv2}`, `stages.i.j.gamma`
(V1) or `stages.i.j.grn.{gamma,beta}` (V2), and `norm0..norm3` for the output norms that dense heads need.

Legend: B images, C channels, H W height and width in pixels of the map at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convnext_dense.errors import InputError, last_line
from convnext_dense.expect import brief, expect_flag, expect_number
from convnext_dense.kernels.compiled_conv import Conv2d
from convnext_dense.kernels.compiling import compile_arguments
from convnext_dense.kernels.depthwise import depthwise_conv
from convnext_dense.kernels.guard import chosen, expect_fused, is_plain
from convnext_dense.kernels.pointwise import GRN_EPS, Parameters, pointwise_mlp
from convnext_dense.models.archs import EPS, resolve_arch
from convnext_dense.models.pyramid import Pyramid, check_input, drop_rates, kept_branches


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a (B, C, H, W) map."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class GRN(nn.Module):
    """Global response normalisation (arXiv 2301.00808, section 3): a channel's norm over the map, relative to the mean one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        # (B, H, W, C); the sum of squares leaves float16's range, so the norm is taken in float32.
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        share = norm / (norm.mean(dim=-1, keepdim=True) + GRN_EPS)
        return self.gamma * (x * share.to(x.dtype)) + self.beta + x


class Block(nn.Module):
    """7x7 depthwise conv, LayerNorm, 1x1 to 4C, GELU, 1x1 to C, layer scale, drop path, residual (figure 4); V2: GRN."""

    def __init__(
        self,
        dim: int,
        drop_path: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        use_grn: bool = False,
        eps: float = EPS,
        fused: bool | str = 'auto',
        recompute_hidden: bool = False,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.dwconv = Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.grn = GRN(4 * dim) if use_grn else nn.Identity()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        scale = layer_scale_init_value * torch.ones(dim) if layer_scale_init_value > 0 and not use_grn else None
        self.gamma = nn.Parameter(scale) if scale is not None else None
        self.drop_path = drop_path
        self.fused = fused
        self.recompute_hidden = recompute_hidden
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), by the faster path where it is asked for and equal."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self._compute, x, use_reentrant=False)
        return self._compute(x)

    def _compute(self, x: Tensor) -> Tensor:
        keep = kept_branches(self, x, self.drop_path)
        fused = True if self.fused == 'auto' and self.recompute_hidden else self.fused  # only the tiles can recompute it
        if chosen(fused, x, x.numel() * x.shape[1]) and self.has_plain_layers():
            return self.tiled(x, keep)
        return self.plain(x, keep)

    def has_plain_layers(self) -> bool:
        """Whether `tiled` would compute what `plain` does: it reads the layers' weights and calls none of them."""
        conv, norm, act = self.dwconv, self.norm, self.act
        layers = ((conv, Conv2d), (norm, nn.LayerNorm), (self.pwconv1, nn.Linear), (act, nn.GELU), (self.pwconv2, nn.Linear))
        if not all(is_plain(layer, cls) for layer, cls in layers) or not is_plain(self.grn, GRN, nn.Identity):
            return False
        geometry = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode)
        needed = (conv.bias, norm.weight, norm.bias, self.pwconv1.bias, self.pwconv2.bias)
        return (
            all(t is not None for t in needed)
            and geometry == ((7, 7), (1, 1), (3, 3), (1, 1), 'zeros')
            and act.approximate == 'none'
        )

    def plain(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """The layers as the paper lists them, what `tiled` must equal."""
        shortcut = x
        x = self.dwconv(x).permute(0, 2, 3, 1)  # (B, H, W, C)
        x = self.pwconv2(self.grn(self.act(self.pwconv1(self.norm(x)))))
        if self.gamma is not None:
            x = self.gamma * x
        if keep is not None:
            x = x * keep[:, None, None, None]
        return shortcut + x.permute(0, 3, 1, 2)

    def tiled(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """The same by `depthwise_conv` and `pointwise_mlp`."""
        weight, bias, y = self.dwconv.weight, self.dwconv.bias, x
        device = x.device.type
        if torch.is_autocast_enabled(device):
            weight, bias, y = (t.to(torch.get_autocast_dtype(device)) for t in (weight, bias, x))
        with torch.autocast(device, enabled=False):
            y = depthwise_conv(y, weight, bias) if device == 'cpu' else F.conv2d(y, weight, bias, padding=3, groups=len(weight))
            x, y = (t.permute(0, 2, 3, 1) for t in (x, y))
            out = pointwise_mlp(x, y, self.pointwise_parameters(), self.norm.eps, keep, self.recompute_hidden)
            return out.permute(0, 3, 1, 2)

    def pointwise_parameters(self) -> Parameters:
        norm, first, second = self.norm, self.pwconv1, self.pwconv2
        grn = (self.grn.gamma.flatten(), self.grn.beta.flatten()) if isinstance(self.grn, GRN) else (None, None)
        return Parameters(norm.weight, norm.bias, first.weight, first.bias, second.weight, second.bias, self.gamma, *grn)

    def extra_repr(self) -> str:
        return f'drop_path={self.drop_path:.3f}'


@MODELS.register_module()
class ConvNeXt(Pyramid):
    """The ConvNeXt pyramid for dense heads.

    Args:
        arch: a name from `ARCHS`, or a dict of `depths` and `dims`, four positive integers each.
        in_channels: channels of the input image.
        drop_path_rate: drop probability of the last block; it grows linearly from 0 over all blocks. In [0, 1).
        layer_scale_init_value: initial value of the layer scale; 0 leaves the layer scale out. V2 has none.
        use_grn: V2, with global response normalisation in place of the layer scale.
        out_indices: which of the four stages are returned; negative ones count from the last.
        frozen_stages: -1 trains everything, 0 freezes the stem, k also stages 1 to k with their output norms. Frozen parts
            stay in eval mode.
        with_cp: recompute each block in the backward pass instead of keeping its activations.
        recompute_hidden: recompute each block's first product too, which keeps 2 instead of 6 values a pixel and channel (the
            plain layers keep 12); slower than the default, faster than `with_cp`. On every device, unless `fused=False`.
        fused: 'auto' runs the blocks by their faster equal path (`kernels.pointwise`, `kernels.depthwise`) on the CPU, but for
            maps too small to gain by it (`kernels.guard.MIN_WORK`), and by the plain layers elsewhere; True by the faster path
            everywhere, False by the plain layers. Blocks whose layers are hooked, adapted, pruned, parametrised or replaced
            run the plain layers in any case.
        compile: run the plain layers through `torch.compile`, one graph for all image sizes; a dict is passed on to it, as
            `dict(mode='max-autotune')`. Names in checkpoints stay as they are.
        channels_last: return the maps channels last in memory, as they are computed, for heads that go on so, as the recipes'
            do. By default they are contiguous, as a ResNet's: some stock heads take views of them.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)` loads a published checkpoint of any layout, strictly, when
            `init_weights()` is called, as training does; until then the weights are random. FILE is a path, a URL or a hub
            name (see `convnext_dense.weights`). Anything else is left to mmengine.

    Attributes:
        out_channels: channels of the returned maps.
        out_strides: their strides in input pixels.

    Raises:
        InputError: for a wrong argument, with the accepted values.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = 'tiny',
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        use_grn: bool = False,
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        with_cp: bool = False,
        recompute_hidden: bool = False,
        fused: bool | str = 'auto',
        compile: bool | Mapping[str, Any] = False,
        channels_last: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        size = resolve_arch(arch)
        depths, dims, eps = size.depths, size.dims, size.eps
        super().__init__(depths, dims, out_indices, frozen_stages, init_cfg)
        self.arch = size
        check_input(in_channels, drop_path_rate)
        expect_number('layer_scale_init_value', layer_scale_init_value, 0)
        flags = dict(use_grn=use_grn, with_cp=with_cp, recompute_hidden=recompute_hidden, channels_last=channels_last)
        for name, value in flags.items():
            expect_flag(name, value)
        expect_fused(fused)
        if not isinstance(compile, (bool, Mapping)):
            raise InputError(f'compile: expected True, False or a dict of arguments of torch.compile, got {brief(compile)}')
        self.use_grn = use_grn
        self.channels_last = channels_last

        stem = nn.Sequential(Conv2d(in_channels, dims[0], kernel_size=4, stride=4), LayerNorm2d(dims[0], eps=eps))
        self.downsample_layers = nn.ModuleList([stem])
        for before, after in pairwise(dims):
            halve = Conv2d(before, after, kernel_size=2, stride=2)
            self.downsample_layers.append(nn.Sequential(LayerNorm2d(before, eps=eps), halve))

        self.stages = nn.ModuleList(
            nn.Sequential(
                *(Block(dim, rate, layer_scale_init_value, use_grn, eps, fused, recompute_hidden, with_cp) for rate in rates)
            )
            for dim, rates in zip(dims, drop_rates(drop_path_rate, depths))
        )
        for i in self.out_indices:
            self.add_module(f'norm{i}', LayerNorm2d(dims[i], eps=eps))

        for module in self.modules():
            if isinstance(module, (Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self._freeze()
        if compile is not False:
            try:  # in place, so that no name in the state dict changes
                self.compile(**compile_arguments(compile if isinstance(compile, Mapping) else {}))
            except Exception as error:  # of any class: an unknown backend, mode or argument
                raise InputError(
                    f'compile: expected arguments of torch.compile, got {brief(compile)}: {last_line(error)}'
                ) from error

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """An image batch (B, in_channels, H, W), H and W from 32 up, to the maps of `out_indices`, each normalised.

        Sizes are floored at each step, as in the official code:

            stage 0  (B, dims[0], H // 4,  W // 4)
            stage 1  (B, dims[1], H // 8,  W // 8)
            stage 2  (B, dims[2], H // 16, W // 16)
            stage 3  (B, dims[3], H // 32, W // 32)
        """
        return super().forward(x)
