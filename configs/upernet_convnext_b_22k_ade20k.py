"""UperNet with ConvNeXt-B, ImageNet-22K weights, on ADE20K at 640x640.

    convnext-dense train upernet_convnext_b_22k_ade20k --data-root ADEChallengeData2016

Published (arXiv 2201.03545, table 4 and the official release): mIoU 52.6, multi-scale and flip 53.1; 122M parameters,
1828G multiply-adds at 640x2560. Trained there on 8 GPUs x 2 images, in fp16.
"""

_base_ = [
    './_base_/models/upernet_convnext.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/runtime.py',
]

# The 640-pixel recipe: every scale of the 512-pixel one, times 640 / 512.
crop_size = (640, 640)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = (2560, 640)
train_pipeline[3].crop_size = crop_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (2560, 640)
tta_scales = [(width * 640 // 512, height * 640 // 512) for width, height in _base_.tta_scales]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [dict(type='Resize', scale=scale, keep_ratio=True) for scale in tta_scales]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        arch='base',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth'),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
    test_cfg=dict(crop_size=crop_size, stride=(426, 426)),
)
optim_wrapper = dict(type='AmpOptimWrapper')  # fp16, as published
