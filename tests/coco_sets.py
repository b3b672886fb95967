"""COCO files for tests: the toy set's, spoilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from conftest import ROOT, SHAPES_COCO
from mmengine.config import Config

from convnext_dense.data.check_coco import coco_problems
from convnext_dense.data.coco import read_coco
from convnext_dense.run.options import load_config

TRAIN_VAL = ('train_dataloader', 'val_dataloader')
CASCADE = str(ROOT / 'configs/cascade_mask_rcnn_convnext_t_coco.py')


def edit(root: Path, change: Callable[[dict], None], name: str = 'instances_training.json') -> Path:
    path = root / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    read_coco.cache_clear()
    return path


def problems(root: Path) -> list[str]:
    return list(coco_problems(root / 'instances_training.json', root / 'images' / 'training', with_masks=True, sample=None))


def annotation(**fields) -> Callable[[dict], None]:
    """Changes these fields of the third annotation."""

    def change(coco: dict) -> None:
        coco['annotations'][2].update(fields)

    return change


def repeat(key: str, **fields) -> Callable[[dict], None]:
    """Appends the first entry of a list once more, with these fields."""

    def change(coco: dict) -> None:
        coco[key].append(dict(coco[key][0], **fields))

    return change


def config(root: Path, name: str = SHAPES_COCO) -> Config:
    read_coco.cache_clear()
    return load_config(name, data_root=str(root))
