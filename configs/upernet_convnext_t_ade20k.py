"""UperNet with ConvNeXt-T, ImageNet-1K weights, on ADE20K at 512x512.

    convnext-dense train upernet_convnext_t_ade20k --data-root ADEChallengeData2016

Published (arXiv 2201.03545, table 4 and the official release): mIoU 46.0, multi-scale and flip 46.7; 60M parameters,
939G multiply-adds at 512x2048. Trained there on 8 GPUs x 2 images, in fp16.
"""

_base_ = [
    './_base_/models/upernet_convnext.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/runtime.py',
]

model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth'),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
optim_wrapper = dict(type='AmpOptimWrapper')  # fp16, as published
