"""Detectors of MMDetection's own configs with ConvNeXt-atto in them, and batches to feed them."""

from __future__ import annotations

import copy

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

import convnext_dense  # noqa: F401

Sizes = list[tuple[int, int]]


def build(cfg: Config) -> nn.Module:
    init_default_scope('mmdet')
    model = MODELS.build(copy.deepcopy(cfg.model))
    model.init_weights()
    return model


def batch(sizes: Sizes, objects: list[int], seed: int = 0, classes: int = 80, seg_stride: int = 1) -> dict[str, list]:
    """Images (height, width) of noise with a number of rectangles each: boxes, masks, and a map of the things in it."""
    rng = np.random.default_rng(seed)
    inputs, samples = [], []
    for (height, width), count in zip(sizes, objects):
        inputs.append(torch.from_numpy(rng.integers(0, 255, (3, height, width), dtype=np.uint8)))
        corner = rng.uniform(0, 0.5, (count, 2)) * [width, height]
        far = corner + rng.uniform(0.2, 0.5, (count, 2)) * [width, height]
        boxes = np.concatenate([corner, far], axis=1).astype(np.float32).reshape(-1, 4)
        masks = np.zeros((count, height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int)):
            mask[y1:y2, x1:x2] = 1
        shape = (height, width)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=shape,
                ori_shape=shape,
                pad_shape=shape,
                batch_input_shape=shape,
                scale_factor=(1.0, 1.0),
                border=(0, height, 0, width),  # CenterNet's
                img_id=len(samples),
            )
        )
        labels = rng.integers(0, classes, count)
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes),
            labels=torch.from_numpy(labels),
            masks=BitmapMasks(masks, height, width),
        )
        things = np.full(shape, 255)
        for mask, label in zip(masks, labels):
            things[mask == 1] = min(label, 52)  # the stuff of COCO has 53 classes
        sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(things[None, ::seg_stride, ::seg_stride].copy()))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def loss_of(model: nn.Module, data: dict) -> Tensor:
    """The sum of the model's losses on a batch."""
    losses = model(**model.data_preprocessor(copy.deepcopy(data), training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    return total
