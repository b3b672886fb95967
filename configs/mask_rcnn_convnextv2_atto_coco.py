"""Mask R-CNN with ConvNeXt V2-atto, FCMAE weights (ImageNet-1K without labels), on COCO, 3x.

    convnext-dense train mask_rcnn_convnextv2_atto_coco --data-root data/coco

Published: no scores of this size. Not trained by us.

The recipe is that of arXiv 2301.00808, appendix A.3: large-scale jitter, 32 images a step, soft-NMS. It sweeps drop path and
layer decay and does not tell what came out: the values here are from its ranges.
"""

_base_ = [
    './_base_/models/mask_rcnn_convnext.py',
    './_base_/datasets/coco_lsj.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/runtime.py',
]

model = dict(
    backbone=dict(
        arch='atto',
        use_grn=True,
        drop_path_rate=0.2,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/pt_only/convnextv2_atto_1k_224_fcmae.pt',
        ),
    ),
    neck=dict(in_channels=[40, 80, 160, 320]),
    test_cfg=dict(rcnn=dict(nms=dict(type='soft_nms'))),
)
optim_wrapper = dict(type='AmpOptimWrapper')
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)  # 8 GPUs x 4 images
