"""UperNet with DINOv3's ConvNeXt-B, distilled on LVD-1689M, on ADE20K at 512x512.

    convnext-dense train upernet_dinov3_convnext_b_ade20k --data-root ADEChallengeData2016 --pretrained FILE

FILE is the one named below, given out by Meta once its licence is accepted, or a copy of the hub's
facebook/dinov3-convnext-base-pretrain-lvd1689m. Published: no scores with these heads that we know. Not trained by us.
"""

_base_ = './upernet_convnext_t_ade20k.py'

model = dict(
    backbone=dict(arch='base', init_cfg=dict(checkpoint='dinov3_convnext_base_pretrain_lvd1689m-801f2ba9.pth')),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
