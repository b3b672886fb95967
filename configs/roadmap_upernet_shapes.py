"""UperNet with a step of the walk from ResNet-50 to ConvNeXt-T, on the toy set.

convnext-dense train roadmap_upernet_shapes --cfg-options model.backbone.step=width
convnext-dense roadmap --train          # every step of the walk, several seeds
"""

_base_ = ['./upernet_convnext_atto_shapes.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='RoadmapNet',
        step='downsample',
        size='tiny',
        init_cfg={{_base_.model.backbone.init_cfg}},
    ),
    decode_head=dict(in_channels='backbone'),
    auxiliary_head=dict(in_channels='backbone'),
)
train_cfg = dict(max_iters=600, val_interval=600)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=30),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=30, end=600),
]
default_hooks = dict(checkpoint=dict(interval=60))
