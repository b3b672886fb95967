"""The walk from ResNet-50 to ConvNeXt-T and from ResNet-200 to ConvNeXt-B: a row per step, in the paper's order.

arXiv 2201.03545, section 2; figures of tables 10 and 11 of its appendix. A row names what it changes in the network of the row
before; where two kernels are larger than the one that the walk goes on with, the next row changes it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.text import did_you_mean

SIZES = ('tiny', 'base')


@dataclass(frozen=True)
class Design:
    """A network of the walk."""

    depths: tuple[int, int, int, int]
    width: int  # of the first stage's block; it doubles from stage to stage
    patchify: bool = False  # stem: 4x4 convolution of stride 4; else 7x7 of stride 2, and pooling
    depthwise: bool = False  # a block's spatial convolution
    inverted: bool = False  # a block is four times as wide inside as outside; else the other way round
    moved_up: bool = False  # a block's spatial convolution comes first; else between the two 1x1
    kernel: int = 3  # of it
    act: type[nn.Module] = nn.ReLU
    one_act: bool = False  # a block; else after every norm, the last one after the addition
    one_norm: bool = False  # a block; else after every convolution
    layer_norm: bool = False  # else batch norm
    separate: bool = False  # downsampling by a norm and a 2x2 convolution between stages; else in a stage's first block


@dataclass(frozen=True)
class Published:
    """Top-1 accuracy on ImageNet in per cent, its deviation over three seeds, and multiply-adds at 224 pixels in billions."""

    top1: float
    gmacs: float
    deviation: float | None = None


@dataclass(frozen=True)
class Step:
    """A row of the walk; `changes` holds fields of `Design`, those that differ between the sizes as a dict of both."""

    name: str
    title: str
    changes: Mapping[str, Any]
    tiny: Published
    base: Published


def _row(name: str, title: str, tiny: tuple[float, ...], base: tuple[float, ...], **changes: Any) -> Step:
    published = [Published(top1, gmacs, *deviation) for top1, gmacs, *deviation in (tiny, base)]
    return Step(name, title, changes, *published)


_RESNET = dict(tiny=(3, 4, 6, 3), base=(3, 24, 36, 3))
_RATIO = dict(tiny=(3, 3, 9, 3), base=(3, 3, 27, 3))

# Name, what it is; of T and of B: top-1, multiply-adds, deviation; what changes.
_WALK = [
    _row('original', 'ResNet, the original recipe', (76.13, 4.09), (78.20, 15.01), depths=_RESNET, width=64),
    _row('enhanced', 'the enhanced recipe', (78.82, 4.09, 0.07), (81.14, 15.01)),
    _row('ratio', 'stage ratio (B: wider)', (79.36, 4.53, 0.07), (81.33, 14.52), depths=_RATIO, width=dict(tiny=64, base=84)),
    _row('patchify', 'patchify stem', (79.51, 4.42, 0.18), (81.59, 14.38), patchify=True),
    _row('depthwise', 'depthwise convolution', (78.28, 2.35, 0.08), (80.54, 7.23), depthwise=True),
    _row('width', 'width 96 (B: 128)', (80.50, 5.27, 0.02), (81.85, 16.76), width=dict(tiny=96, base=128)),
    _row('inverted', 'inverted bottleneck', (80.64, 4.64, 0.03), (82.64, 15.68), inverted=True),
    _row('moved_up', 'depthwise moved up', (79.92, 4.07, 0.08), (82.04, 14.63), moved_up=True),
    _row('kernel5', 'kernel 5', (80.35, 4.10, 0.08), (82.32, 14.70), kernel=5),
    _row('kernel7', 'kernel 7', (80.57, 4.15, 0.14), (82.30, 14.81), kernel=7),
    _row('kernel9', 'kernel 9', (80.57, 4.21, 0.06), (82.27, 14.95), kernel=9),
    _row('kernel11', 'kernel 11', (80.47, 4.29, 0.11), (82.18, 15.13), kernel=11),
    _row('gelu', 'GELU, kernel 7', (80.62, 4.15, 0.14), (82.19, 14.81), kernel=7, act=nn.GELU),
    _row('one_act', 'one activation a block', (81.27, 4.15, 0.06), (82.71, 14.81), one_act=True),
    _row('one_norm', 'one norm a block', (81.41, 4.15, 0.09), (83.17, 14.81), one_norm=True),
    _row('layer_norm', 'LayerNorm', (81.47, 4.46, 0.09), (83.35, 14.81), layer_norm=True),
    _row('downsample', 'separate downsampling: ConvNeXt', (81.97, 4.49, 0.06), (83.60, 15.35), separate=True),
]
STEPS: dict[str, Step] = {step.name: step for step in _WALK}
SWIN = dict(tiny=Published(81.30, 4.50), base=Published(83.50, 15.43))  # the paper's last row


def design_of(step: str, size: str) -> Design:
    """The network of a step.

    Raises:
        InputError: for a step or a size that is not there, with the nearest name.
    """
    for name, given, known in (('step', step, STEPS), ('size', size, SIZES)):
        if not isinstance(given, str) or given not in known:
            raise InputError(f'{name}: expected one of {", ".join(known)}; got {given!r}{did_you_mean(str(given), known)}')
    design: Design | None = None
    for row in _WALK:
        own = {key: value[size] if isinstance(value, Mapping) else value for key, value in row.changes.items()}
        design = Design(**own) if design is None else replace(design, **own)
        if row.name == step:
            break
    assert design is not None
    return design
