"""UperNet (arXiv 1807.10221) on ConvNeXt. A size file adds arch, drop path, weights and the heads' input channels."""

custom_imports = dict(imports=['convnext_dense.segmentation'], allow_failed_imports=False)

norm_cfg = dict(type='SyncBN', requires_grad=True)  # BN where one process trains, or without a GPU
model = dict(
    type='LeanEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(type='ConvNeXt', layer_scale_init_value=1.0, out_indices=(0, 1, 2, 3), channels_last=True),
    decode_head=dict(
        type='FastUPerHead',
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type='FastFCNHead',
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341), batch_size=1, keep_logits=False),
)
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], alpha=0.6)
