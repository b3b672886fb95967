"""What the backbones of four stages share: the maps that are returned, frozen stages, weights that are loaded strictly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import torch
from mmengine.model import BaseModule, initialize
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.expect import brief, expect_images, expect_whole, number, whole
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.models.init_cfg import STRICT, split_init_cfg


class Pretrainable(BaseModule):
    """A backbone whose `init_cfg` may name a checkpoint, which is loaded strictly (`weights.initializer`).

    Attributes:
        depths: blocks of each stage.
        out_indices: stages whose maps are returned; `out_channels` and `out_strides` are of these maps.
        stem: the convolution that takes the image.
    """

    depths: tuple[int, ...]
    out_indices: tuple[int, ...]
    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]
    stem: Any

    def __init__(self, init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None) -> None:
        split_init_cfg(init_cfg)
        super().__init__(init_cfg)

    def init_weights(self) -> None:
        """Load `init_cfg`'s checkpoint, after the other initialisers, which are mmengine's."""
        others, pretrained = split_init_cfg(self.init_cfg)
        if pretrained is None:
            super().init_weights()
            return
        initialize(self, [*others, dict(pretrained, type=STRICT)])
        self.is_init = True


class Pyramid(Pretrainable):
    """Four stages, each after a downsampling layer, and an output norm `norm{i}` for each map that is returned.

    A derived class sets `downsample_layers`, `stages` and the output norms, and calls `_freeze` when they are there.

    Args:
        depths: blocks of the stages.
        dims: channels of the stages' maps.
        out_indices, frozen_stages: see `ConvNeXt`.
    """

    downsample_layers: Any
    stages: Any
    channels_last = False  # whether maps are returned as they lie in memory, for heads that work on them so

    def __init__(
        self,
        depths: Sequence[int],
        dims: Sequence[int],
        out_indices: int | Sequence[int],
        frozen_stages: int,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None,
    ) -> None:
        super().__init__(init_cfg)
        if not (whole(frozen_stages, -1) and frozen_stages <= 4):
            raise InputError(f'frozen_stages: expected -1 (none), 0 (stem) or 1 to 4, got {brief(frozen_stages)}')
        self.depths = tuple(depths)
        self.out_indices = resolve_out_indices(out_indices)
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages

    @property
    def stem(self) -> Any:
        """The convolution that takes the image."""
        return self.downsample_layers[0][0]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """An image batch (B, in_channels, H, W), H and W from 32 up, to the maps of `out_indices`."""
        check_image(x, self.stem)
        maps = []
        x = x.contiguous(memory_format=torch.channels_last)  # the layers keep it, so that no map is copied between them
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            if i in self.out_indices:
                out = getattr(self, f'norm{i}')(x)
                # Heads that take views of their maps, and compiled kernels, expect rows of NCHW, as a ResNet returns them.
                maps.append(out if self.channels_last else out.contiguous())
        return tuple(maps)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        frozen: list[nn.Module] = [self.downsample_layers[0]] if self.frozen_stages >= 0 else []
        for i in range(self.frozen_stages):
            frozen += [self.downsample_layers[i], self.stages[i]]
            frozen += [getattr(self, f'norm{i}')] if i in self.out_indices else []
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


def check_image(x: Tensor, stem: nn.Conv2d) -> None:
    """Stop at what is no image batch for the stem, and at sides below the last stride."""
    if not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
        expect_images(x, stem.weight)
    if min(x.shape[-2:]) < MIN_SIDE:
        height, width = x.shape[-2:]
        raise InputError(
            f'image of {height}x{width} pixels: expected height and width of at least {MIN_SIDE}, the last stride; '
            'resize or pad the image'
        )


def check_input(in_channels: int, drop_path_rate: float) -> None:
    """Stop at what is no number of channels, and at a probability of 1 or more."""
    expect_whole('in_channels', in_channels, 1)
    if not (number(drop_path_rate, 0) and drop_path_rate < 1):
        raise InputError(f'drop_path_rate: expected a number in [0, 1), got {brief(drop_path_rate)}')


def drop_rates(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Of each stage's blocks; the rate grows linearly from 0 to that of the last block."""
    rates = [rate.item() for rate in torch.linspace(0, last, sum(depths), device='cpu')]
    return [rates[end - depth : end] for depth, end in zip(depths, accumulate(depths))]


def kept_branches(module: nn.Module, x: Tensor, rate: float) -> Tensor | None:
    """(B,) factors of the images' branches in training with stochastic depth (arXiv 1603.09382), else None.

    An image's branch is dropped whole, the kept ones are scaled up.
    """
    if not module.training or rate <= 0:
        return None
    share = 1 - rate
    return x.new_empty(x.shape[0]).bernoulli_(share) / share


def resolve_out_indices(out_indices: int | Sequence[int]) -> tuple[int, ...]:
    """Stage numbers 0 to 3, in order; negative ones count from the last."""
    given = tuple(out_indices) if isinstance(out_indices, Iterable) else (out_indices,)
    stages = sorted({i % 4 for i in given if whole(i, -4) and i < 4})
    if not given or len(stages) != len(given):
        raise InputError(f'out_indices: expected different stage numbers of 0 to 3 (or -4 to -1), got {brief(out_indices)}')
    return tuple(stages)
