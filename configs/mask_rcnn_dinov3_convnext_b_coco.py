"""Mask R-CNN with DINOv3's ConvNeXt-B, distilled on LVD-1689M, on COCO, 3x.

    convnext-dense train mask_rcnn_dinov3_convnext_b_coco --data-root data/coco --pretrained FILE

FILE is the one named below, given out by Meta once its licence is accepted, or a copy of the hub's
facebook/dinov3-convnext-base-pretrain-lvd1689m. Published: no scores with these heads that we know. Not trained by us.
"""

_base_ = './mask_rcnn_convnext_t_coco.py'

model = dict(
    backbone=dict(arch='base', init_cfg=dict(checkpoint='dinov3_convnext_base_pretrain_lvd1689m-801f2ba9.pth')),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
