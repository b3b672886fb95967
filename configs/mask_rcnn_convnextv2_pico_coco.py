"""Mask R-CNN with ConvNeXt V2-pico, FCMAE weights (ImageNet-1K without labels), on COCO, 3x.

    convnext-dense train mask_rcnn_convnextv2_pico_coco --data-root data/coco

Published: no scores of this size. Not trained by us.
"""

_base_ = './mask_rcnn_convnextv2_atto_coco.py'

model = dict(
    backbone=dict(
        arch='pico',
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/pt_only/convnextv2_pico_1k_224_fcmae.pt'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
