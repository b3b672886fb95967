"""Cascade Mask R-CNN with ConvNeXt-XL, ImageNet-22K weights, on COCO, 3x.

    convnext-dense train cascade_mask_rcnn_convnext_xl_coco --data-root data/coco

Published (arXiv 2201.03545, table 3 and the official release): box AP 55.2, mask AP 47.7; 407M parameters,
1898G multiply-adds at 1280x800. Trained there on 8 GPUs x 2 images.
"""

_base_ = './cascade_mask_rcnn_convnext_t_coco.py'

model = dict(
    backbone=dict(
        arch='xlarge',
        drop_path_rate=0.8,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth'),
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=1e-4))
