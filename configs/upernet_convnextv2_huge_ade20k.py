"""UperNet with ConvNeXt V2-huge, FCMAE weights fine-tuned on ImageNet-1K, on ADE20K at 512x512.

    convnext-dense train upernet_convnextv2_huge_ade20k --data-root ADEChallengeData2016

Published (arXiv 2301.00808, table 7): multi-scale mIoU 55.0; 707M parameters,
3272G multiply-adds at 512x2048. Not trained by us.
"""

_base_ = './upernet_convnextv2_atto_ade20k.py'

model = dict(
    backbone=dict(
        arch='huge',
        drop_path_rate=0.4,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_huge_1k_224_ema.pt'),
    ),
    decode_head=dict(in_channels=[352, 704, 1408, 2816]),
    auxiliary_head=dict(in_channels=1408),
)
