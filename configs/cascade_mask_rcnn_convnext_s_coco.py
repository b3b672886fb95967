"""Cascade Mask R-CNN with ConvNeXt-S, ImageNet-1K weights, on COCO, 3x.

    convnext-dense train cascade_mask_rcnn_convnext_s_coco --data-root data/coco

Published (arXiv 2201.03545, table 3 and the official release): box AP 51.9, mask AP 45.0; 108M parameters,
827G multiply-adds at 1280x800. Trained there on 8 GPUs x 2 images, in fp16.
"""

_base_ = './cascade_mask_rcnn_convnext_t_coco.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.6,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_1k_224.pth'),
    ),
)
