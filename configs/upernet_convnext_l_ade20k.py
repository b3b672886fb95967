"""UperNet with ConvNeXt-L, ImageNet-22K weights, on ADE20K at 640x640.

    convnext-dense train upernet_convnext_l_ade20k --data-root ADEChallengeData2016

Published (arXiv 2201.03545, table 4 and the official release): mIoU 53.2, multi-scale and flip 53.7; 235M parameters,
2458G multiply-adds at 640x2560. Trained there on 8 GPUs x 2 images.
"""

_base_ = './upernet_convnext_b_22k_ade20k.py'

model = dict(
    backbone=dict(
        arch='large',
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth'),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
optim_wrapper = dict(type='OptimWrapper')
