"""Cascade Mask R-CNN with ConvNeXt-T, ImageNet-1K weights, on COCO, 3x.

    convnext-dense train cascade_mask_rcnn_convnext_t_coco --data-root data/coco

Published (arXiv 2201.03545, table 3 and the official release): box AP 50.4, mask AP 43.7; 86M parameters,
741G multiply-adds at 1280x800. Trained there on 8 GPUs x 2 images, in fp16.
"""

_base_ = [
    './_base_/models/cascade_mask_rcnn_convnext.py',
    './_base_/datasets/coco_instance.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/runtime.py',
]

model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth'),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=2e-4), paramwise_cfg=dict(decay_rate=0.7))  # fp16, as published
