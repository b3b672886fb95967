"""Mask R-CNN with ConvNeXt V2-base, FCMAE weights (ImageNet-1K without labels), on COCO, 3x.

    convnext-dense train mask_rcnn_convnextv2_base_coco --data-root data/coco

Published (arXiv 2301.00808, table 6): box AP 52.9, mask AP 46.6; 486G multiply-adds at 1280x800. Not trained by us.
"""

_base_ = './mask_rcnn_convnextv2_atto_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.4,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/pt_only/convnextv2_base_1k_224_fcmae.pt'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
