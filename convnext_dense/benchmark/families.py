"""ConvNeXt, Swin and ResNet in the same heads, as in the paper's tables 3 and 4: the recipes with another backbone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from rich.table import Table
from torch import nn

from convnext_dense.benchmark.complexity import count_of, published_figures, usual_shape
from convnext_dense.benchmark.rivals import Contender, recipe, segmentor
from convnext_dense.models.archs import ARCHS
from convnext_dense.models.isotropic import ISOTROPIC
from convnext_dense.recipes import recipes
from convnext_dense.run.settle import settle_norms


@dataclass(frozen=True)
class Family:
    """A backbone: its config, the channels of its maps, and published (M parameters, G multiply-adds) in both heads."""

    cfg: dict[str, Any]
    channels: list[int]
    upernet: tuple[int, int] | None = None
    cascade: tuple[int, int] | None = None


def _convnext(arch: str) -> Family:
    """Its published figures stand in the recipes."""
    letter, dims = arch[0], list(ARCHS[arch].dims)
    found = []
    for name in (f'upernet_convnext_{letter}_ade20k', f'cascade_mask_rcnn_convnext_{letter}_coco'):
        figures = published_figures(recipes()[name])
        found.append((figures.params, figures.macs) if figures and figures.params else None)
    return Family(dict(type='ConvNeXt', arch=arch, layer_scale_init_value=1.0), dims, *found)


def _swin(width: int, depth: int, upernet: tuple[int, int], cascade: tuple[int, int]) -> Family:
    heads = [width * 2**i // 32 for i in range(4)]
    cfg = dict(type='SwinTransformer', embed_dims=width, depths=[2, 2, depth, 2], num_heads=heads, drop_path_rate=0.0)
    return Family(cfg, [width * 2**i for i in range(4)], upernet, cascade)


def _resnet(depth: int) -> Family:
    return Family(dict(type='ResNet', depth=depth), [256, 512, 1024, 2048])


def _isotropic(arch: str) -> Family:
    return Family(dict(type='IsotropicConvNeXt', arch=arch), [ISOTROPIC[arch][1]])


def families() -> dict[str, Family]:
    """By name; Swin's figures are those of the paper's tables 3 and 4."""
    return {
        'ResNet-50': _resnet(50),
        'Swin-T': _swin(96, 6, (60, 945), (86, 745)),
        'ConvNeXt-T': _convnext('tiny'),
        'ResNet-101': _resnet(101),
        'Swin-S': _swin(96, 18, (81, 1038), (107, 838)),
        'ConvNeXt-S': _convnext('small'),
        'Swin-B': _swin(128, 18, (121, 1188), (145, 982)),
        'ConvNeXt-B': _convnext('base'),
        'ConvNeXt isotropic S': _isotropic('small'),
        'ConvNeXt isotropic B': _isotropic('base'),
    }


HEADS = {'UperNet': 'upernet_convnext_t_ade20k', 'Cascade Mask R-CNN': 'cascade_mask_rcnn_convnext_t_coco'}
PYRAMID = 256  # channels of the simple pyramid's maps


def config_of(head: str, family: Family) -> Config:
    """A recipe's model with the backbone in place of ConvNeXt-T, without pre-trained weights."""
    cfg = recipe(HEADS[head])
    model = cfg.model
    scope = 'mmseg' if head == 'UperNet' else 'mmdet'
    own = family.cfg['type'] in ('ConvNeXt', 'IsotropicConvNeXt')
    model.backbone = family.cfg if own else dict(family.cfg, type=f'{scope}.{family.cfg["type"]}')
    channels = family.channels
    if len(channels) == 1:
        outs = 4 if head == 'UperNet' else 5
        model.neck = dict(type='SimplePyramid', in_channels=channels, out_channels=PYRAMID, num_outs=outs)
        channels = [PYRAMID] * 4
    elif head != 'UperNet':
        model.neck.in_channels = channels
    if head == 'UperNet':
        model.decode_head.in_channels, model.auxiliary_head.in_channels = channels, channels[2]
    return cfg


def built(cfg: Config) -> nn.Module:
    """With memory for its weights: Swin reads values while it is built."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the libraries' own
        settle_norms(cfg, processes=1)
        return MODELS.build(cfg.model)


def upernet(name: str) -> Contender:
    """For the benchmark: with ResNet and Swin in our heads, too."""
    return segmentor(config_of('UperNet', families()[name]).model)


CONTENDERS: dict[str, Callable[[], Contender]] = {
    name: partial(upernet, name)
    for name in ('ResNet-50', 'Swin-T', 'ResNet-101', 'Swin-S', 'ConvNeXt-S', 'Swin-B', 'ConvNeXt-B', 'ConvNeXt isotropic S')
}


def rival_table(say: Callable[[str], None]) -> Table:
    """Parameters and multiply-adds of every family in both heads, beside the published."""
    table = Table('model', 'input', 'params', 'published', 'multiply-adds', 'published', 'difference')
    for head in HEADS:
        for name, family in families().items():
            say(f'{head} {name} …')
            cfg = config_of(head, family)
            height, width = usual_shape(cfg)
            params, macs = count_of(built(cfg), height, width)
            published = family.upernet if head == 'UperNet' else family.cascade
            cells = ('-', '-', '-')
            if published:
                difference = f'{100 * (macs / 1e9 / published[1] - 1):+.2f} %'
                cells = (f'{published[0]} M', f'{published[1]} G', difference)
            row = (f'{head} {name}', f'{height}x{width}', f'{params / 1e6:.1f} M', cells[0], f'{macs / 1e9:.1f} G', *cells[1:])
            table.add_row(*row)
        table.add_section()
    return table
