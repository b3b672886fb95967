"""UperNet with ConvNeXt V2-atto, FCMAE weights fine-tuned on ImageNet-1K, on ADE20K at 512x512.

    convnext-dense train upernet_convnextv2_atto_ade20k --data-root ADEChallengeData2016

Published: no scores of this size. Not trained by us.

The recipe is that of arXiv 2301.00808, appendix A.4, which starts from the fine-tuned weights and tests at several scales, as
`--tta` does. It sweeps rate, drop path and layer decay and does not tell what came out: the values here are from its ranges.
"""

_base_ = [
    './_base_/models/upernet_convnext.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/runtime.py',
]

model = dict(
    backbone=dict(
        arch='atto',
        use_grn=True,
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_atto_1k_224_ema.pt',
        ),
    ),
    decode_head=dict(in_channels=[40, 80, 160, 320]),
    auxiliary_head=dict(in_channels=160),
)
optim_wrapper = dict(type='AmpOptimWrapper', paramwise_cfg=dict(decay_type='layer_wise'))
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(2048 * r), int(512 * r)), keep_ratio=True) for r in (0.75, 0.875, 1.0, 1.125, 1.25)
]
