"""Mask R-CNN with ConvNeXt-atto from scratch on the embedded toy set.

convnext-dense shapes data/shapes
convnext-dense train mask_rcnn_convnext_atto_shapes
"""

_base_ = [
    './_base_/models/mask_rcnn_convnext.py',
    './_base_/datasets/shapes_coco.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/runtime.py',
]

# From scratch in minutes: weights scaled by their fan-in start faster than the official 0.02 at 40 channels.
fan_in = dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', nonlinearity='linear', distribution='normal')
width = 64
model = dict(
    backbone=dict(arch='atto', init_cfg=fan_in),
    neck=dict(in_channels=[40, 80, 160, 320], out_channels=width),
    rpn_head=dict(in_channels=width, feat_channels=width),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width),
        bbox_head=dict(in_channels=width, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=width),
        mask_head=dict(num_convs=2, in_channels=width, conv_out_channels=width),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(decay_rate=1.0), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=8, begin=0, end=8, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=8, val_interval=4)
auto_scale_lr = dict(base_batch_size=4)
