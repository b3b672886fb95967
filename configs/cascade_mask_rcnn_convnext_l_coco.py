"""Cascade Mask R-CNN with ConvNeXt-L, ImageNet-22K weights, on COCO, 3x.

    convnext-dense train cascade_mask_rcnn_convnext_l_coco --data-root data/coco

Published (arXiv 2201.03545, table 3 and the official release): box AP 54.8, mask AP 47.6; 255M parameters,
1354G multiply-adds at 1280x800. Trained there on 8 GPUs x 2 images.
"""

_base_ = './cascade_mask_rcnn_convnext_t_coco.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.7,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth'),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=1e-4))
