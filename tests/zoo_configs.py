"""Stock configs of MMDetection and MMSegmentation with a ConvNeXt-atto in place of their backbone, small enough for a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmdet
import mmseg
from mmengine.config import Config

from convnext_dense.models.archs import ARCHS

PACKAGES = dict(mmdet=mmdet, mmseg=mmseg)
ARCH = 'atto'
# Stages are counted from 0 at stride 4, as ResNet's; these count their stem or their images, too.
FIRST = dict(Darknet=2, CSPDarknet=1, CSPNeXt=1, SSDVGG=2)
EVERY = {'CSPNeXt': (2, 3, 4), 'HourglassNet': (0,)}  # what these give where the config does not say


def stock_config(package: str, path: str) -> Config:
    """A config that the package ships, without checkpoints: these models start from scratch."""
    folder = Path(PACKAGES[package].__file__).parent / '.mim/configs'
    cfg = Config.fromfile(folder / path, import_custom_modules=False)
    drop_pretrained(cfg.model)
    return cfg


def children(node: Any) -> list[Any]:
    """What lies one step within a part of a config."""
    return list(node.values()) if isinstance(node, dict) else list(node) if isinstance(node, (list, tuple)) else []


def drop_pretrained(node: Any) -> None:
    if isinstance(node, dict):
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg'].get('type') == 'Pretrained':
            node['init_cfg'] = None
        for key in ('pretrained', 'teacher_ckpt'):
            if node.get(key):
                node[key] = None
    for child in children(node):
        drop_pretrained(child)


def stages_of(backbone: dict) -> tuple[int, ...]:
    """The stages, 0 at stride 4 to 3 at stride 32, whose maps a stock backbone gives."""
    kind = backbone['type']
    indices = backbone.get('out_indices') or EVERY.get(kind, (0, 1, 2, 3))
    return tuple(i - FIRST.get(kind, 0) for i in indices)


def dims_of(arch: str) -> list[int]:
    return list(ARCHS[arch].dims)


def convnext(stages: tuple[int, ...], arch: str = ARCH) -> dict:
    return dict(type='ConvNeXt', arch=arch, out_indices=stages)


def fit(node: dict, stages: tuple[int, ...]) -> None:
    """Give a neck or head that takes the backbone's maps their channels, in its own order, deepest first or last."""
    before = node['in_channels']
    if isinstance(before, int):
        node['in_channels'] = dims_of(ARCH)[stages[-1]]
    else:
        dims = [dims_of(ARCH)[i] for i in stages]
        node['in_channels'] = dims[::-1] if list(before) == sorted(before, reverse=True) else dims
