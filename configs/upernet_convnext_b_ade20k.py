"""UperNet with ConvNeXt-B, ImageNet-1K weights, on ADE20K at 512x512.

    convnext-dense train upernet_convnext_b_ade20k --data-root ADEChallengeData2016

Published (arXiv 2201.03545, table 4 and the official release): mIoU 49.1, multi-scale and flip 49.9; 122M parameters,
1170G multiply-adds at 512x2048. Trained there on 8 GPUs x 2 images, in fp16.
"""

_base_ = [
    './_base_/models/upernet_convnext.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/runtime.py',
]

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_224.pth'),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
optim_wrapper = dict(type='AmpOptimWrapper')  # fp16, as published
