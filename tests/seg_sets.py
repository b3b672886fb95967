"""Segmentation sets for tests: the toy set's training split, spoilt."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

import convnext_dense.segmentation.shapes_dataset  # noqa: F401
from convnext_dense.data.check import check_split


def config(root: Path, kind: str = 'ShapesDataset', **dataset) -> Config:
    prefix = dict(img_path='images/training', seg_map_path='annotations/training')
    loader = dict(dataset=dict(type=kind, data_root=str(root), data_prefix=prefix, pipeline=[], **dataset))
    return Config(dict(default_scope='mmseg', train_dataloader=loader))


def problems(root: Path, **kwargs) -> list[str]:
    return check_split('train_dataloader', config(root, **kwargs), mode='all')


def mask_path(root: Path, index: int = 1) -> Path:
    return root / 'annotations' / 'training' / f'scene_{index:05d}.png'


def image_path(root: Path, index: int = 1) -> Path:
    return root / 'images' / 'training' / f'scene_{index:05d}.jpg'
