"""Mask R-CNN with ConvNeXt V2-large, FCMAE weights (ImageNet-1K without labels), on COCO, 3x.

    convnext-dense train mask_rcnn_convnextv2_large_coco --data-root data/coco

Published (arXiv 2301.00808, table 6): box AP 54.4, mask AP 47.7; 875G multiply-adds at 1280x800. Not trained by us.
"""

_base_ = './mask_rcnn_convnextv2_atto_coco.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.4,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/pt_only/convnextv2_large_1k_224_fcmae.pt'),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
