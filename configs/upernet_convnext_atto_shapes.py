"""UperNet with ConvNeXt-atto from scratch on the embedded toy set: the demo.

convnext-dense shapes data/shapes
convnext-dense train upernet_convnext_atto_shapes
"""

_base_ = [
    './_base_/models/upernet_convnext.py',
    './_base_/datasets/shapes_seg.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/runtime.py',
]
custom_imports = dict(imports=['convnext_dense.segmentation', 'convnext_dense.segmentation.shapes_dataset'])

# From scratch in minutes: weights scaled by their fan-in start faster than the official 0.02 at 40 channels.
fan_in = dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', nonlinearity='linear', distribution='normal')
model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(arch='atto', init_cfg=fan_in),
    decode_head=dict(in_channels=[40, 80, 160, 320], channels=64, num_classes=6),
    auxiliary_head=dict(in_channels=160, channels=32, num_classes=6),
    test_cfg=dict(mode='whole'),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3), paramwise_cfg=dict(decay_rate=1.0), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=50, end=2000),
]
train_cfg = dict(max_iters=2000, val_interval=1000)
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(checkpoint=dict(interval=1000))
