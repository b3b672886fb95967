"""UperNet with ConvNeXt-XL, ImageNet-22K weights, on ADE20K at 640x640.

    convnext-dense train upernet_convnext_xl_ade20k --data-root ADEChallengeData2016

Published (arXiv 2201.03545, table 4 and the official release): mIoU 53.6, multi-scale and flip 54.0; 391M parameters,
3335G multiply-adds at 640x2560. Trained there on 8 GPUs x 2 images.
"""

_base_ = './upernet_convnext_b_22k_ade20k.py'

model = dict(
    backbone=dict(
        arch='xlarge',
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=8e-5))
