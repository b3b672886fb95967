"""UperNet with ConvNeXt V2-large, FCMAE weights fine-tuned on ImageNet-1K, on ADE20K at 512x512.

    convnext-dense train upernet_convnextv2_large_ade20k --data-root ADEChallengeData2016

Published (arXiv 2301.00808, table 7): multi-scale mIoU 53.7; 235M parameters,
1573G multiply-adds at 512x2048. Not trained by us.
"""

_base_ = './upernet_convnextv2_atto_ade20k.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.4,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_large_1k_224_ema.pt'),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
