"""MMDetection's own configs with a ConvNeXt-atto in place of their backbone, and batches to feed them."""

from __future__ import annotations

import copy

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

import convnext_dense  # noqa: F401

DIMS = [40, 80, 160, 320]
# name -> config of mmdet, stages that its neck takes
DETECTORS = {
    'RetinaNet': ('retinanet/retinanet_r50_fpn_1x_coco.py', 4),
    'FCOS': ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 4),
    'ATSS': ('atss/atss_r50_fpn_1x_coco.py', 4),
    'Faster R-CNN': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 4),
    'Mask R-CNN': ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 4),
    'Cascade Mask R-CNN': ('cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py', 4),
    'Mask2Former': ('mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', 4),
    'DINO': ('dino/dino-4scale_r50_8xb2-12e_coco.py', 3),
    'Deformable DETR': ('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', 3),
    'Sparse R-CNN': ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', 4),
    'SOLOv2': ('solov2/solov2_r50_fpn_1x_coco.py', 4),
    'GFL': ('gfl/gfl_r50_fpn_1x_coco.py', 4),
    'CenterNet': ('centernet/centernet_r18_8xb16-crop512-140e_coco.py', 1),
    'CondInst': ('condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py', 4),
    'Faster R-CNN with CARAFE': ('carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py', 4),
    'ATSS with DyHead': ('dyhead/atss_r50_fpn_dyhead_1x_coco.py', 4),
    'PISA': ('pisa/mask-rcnn_r50_fpn_pisa_1x_coco.py', 4),
}


def detector_config(name: str) -> Config:
    """The config of `name` with a from-scratch ConvNeXt-atto, and few RoIs so that a step takes seconds."""
    path, stages = DETECTORS[name]
    cfg = get_config(f'mmdet::{path}')
    model = cfg.model
    model.backbone = dict(type='ConvNeXt', arch='atto', out_indices=tuple(range(4 - stages, 4)))
    takes_maps = model.panoptic_head if name == 'Mask2Former' else model.neck
    takes_maps = takes_maps[0] if isinstance(takes_maps, list) else takes_maps
    takes_maps.in_channels = DIMS[4 - stages :] if isinstance(takes_maps.in_channels, list) else DIMS[3]
    model.data_preprocessor.pop('batch_augments', None)  # would pad to 1024 pixels
    rcnn = model.get('train_cfg', {}).get('rcnn') if isinstance(model.get('train_cfg'), dict) else None
    if name == 'DINO':
        model.update(num_queries=40, dn_cfg=dict(model.dn_cfg, group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=8)))
    if name in ('DINO', 'Deformable DETR'):
        model.encoder.num_layers, model.decoder.num_layers = 1, 2
    if name == 'Sparse R-CNN':
        model.rpn_head.num_proposals = 20
    if name == 'SOLOv2':
        model.mask_head.update(stacked_convs=1, num_grids=[12, 10, 8, 6, 4])
    for stage in rcnn if isinstance(rcnn, list) else [rcnn] if rcnn else []:
        if stage.sampler.get('num'):
            stage.sampler.num = 32
    return cfg


def build(cfg: Config) -> nn.Module:
    init_default_scope('mmdet')
    model = MODELS.build(copy.deepcopy(cfg.model))
    model.init_weights()
    return model


def batch(sizes: list[tuple[int, int]], objects: list[int], seed: int = 0) -> dict[str, list]:
    """Images (height, width) of noise with a number of rectangles each, with masks."""
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
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes),
            labels=torch.from_numpy(rng.integers(0, 80, count)),
            masks=BitmapMasks(masks, height, width),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def loss_of(model: nn.Module, data: dict[str, list]) -> Tensor:
    """The sum of the model's losses on a batch."""
    losses = model(**model.data_preprocessor(copy.deepcopy(data), training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    return total
