"""UperNet with DINOv3's ConvNeXt-L, distilled on LVD-1689M, on ADE20K at 512x512.

    convnext-dense train upernet_dinov3_convnext_l_ade20k --data-root ADEChallengeData2016 --pretrained FILE

FILE is the one named below, given out by Meta once its licence is accepted, or a copy of the hub's
facebook/dinov3-convnext-large-pretrain-lvd1689m. Published: no scores with these heads that we know. Not trained by us.
"""

_base_ = './upernet_convnext_t_ade20k.py'

model = dict(
    backbone=dict(arch='large', init_cfg=dict(checkpoint='dinov3_convnext_large_pretrain_lvd1689m-61fa432d.pth')),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
