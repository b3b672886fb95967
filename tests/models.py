"""Whole models with random weights in checkpoints as training writes them, and pictures to predict on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

from convnext_dense.run.options import load_config
from convnext_dense.run.settle import settle_norms


def write_checkpoint(config: str, path: Path, classes: tuple[str, ...], **meta: object) -> Path:
    """A checkpoint of a config's model, and its config in it."""
    cfg = load_config(config)
    settle_norms(cfg, 1)
    for node in (cfg.model.get('roi_head') or {}).values():
        if isinstance(node, dict) and 'num_classes' in node:
            node['num_classes'] = len(classes)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        model.init_weights()
    text = cfg.pretty_text
    palette = [[40 * i, 255 - 40 * i, 128] for i in range(len(classes))]
    meta = dict(cfg=text, dataset_meta=dict(classes=classes, palette=palette)) | meta
    torch.save(dict(meta=meta, state_dict=model.state_dict()), path)
    return path


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) bytes, RGB: smooth colours with some noise."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height))
    return (np.asarray(small) * 0.9 + rng.integers(0, 25, (height, width, 3))).astype(np.uint8)


def write_photograph(path: Path, height: int = 60, width: int = 80, seed: int = 0, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(height, width, seed)).save(path, **options)
    return path
