"""Mask R-CNN with ConvNeXt V2-tiny, FCMAE weights (ImageNet-1K without labels), on COCO, 3x.

    convnext-dense train mask_rcnn_convnextv2_tiny_coco --data-root data/coco

Published: no scores of this size. Not trained by us.
"""

_base_ = './mask_rcnn_convnextv2_atto_coco.py'

model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/pt_only/convnextv2_tiny_1k_224_fcmae.pt'),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
