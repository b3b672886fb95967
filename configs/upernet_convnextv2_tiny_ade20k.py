"""UperNet with ConvNeXt V2-tiny, FCMAE weights fine-tuned on ImageNet-1K, on ADE20K at 512x512.

    convnext-dense train upernet_convnextv2_tiny_ade20k --data-root ADEChallengeData2016

Published: no scores of this size. Not trained by us.
"""

_base_ = './upernet_convnextv2_atto_ade20k.py'

model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_tiny_1k_224_ema.pt'),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
