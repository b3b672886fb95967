"""Cascade Mask R-CNN with ConvNeXt-B, ImageNet-1K weights, on COCO, 3x.

    convnext-dense train cascade_mask_rcnn_convnext_b_coco --data-root data/coco

Published (arXiv 2201.03545, table 3 and the official release): box AP 52.7, mask AP 45.6; 146M parameters,
964G multiply-adds at 1280x800. Trained there on 8 GPUs x 2 images, in fp16.
"""

_base_ = './cascade_mask_rcnn_convnext_t_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.7,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_224.pth'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
