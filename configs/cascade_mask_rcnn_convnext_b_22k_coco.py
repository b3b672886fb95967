"""Cascade Mask R-CNN with ConvNeXt-B, ImageNet-22K weights, on COCO, 3x.

    convnext-dense train cascade_mask_rcnn_convnext_b_22k_coco --data-root data/coco

Published (arXiv 2201.03545, table 3 and the official release): box AP 54.0, mask AP 46.9; 146M parameters,
964G multiply-adds at 1280x800. Trained there on 8 GPUs x 2 images, in fp16.
"""

_base_ = './cascade_mask_rcnn_convnext_t_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.6,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(decay_rate=0.8))
