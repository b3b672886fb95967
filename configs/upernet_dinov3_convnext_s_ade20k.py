"""UperNet with DINOv3's ConvNeXt-S, distilled on LVD-1689M, on ADE20K at 512x512.

    convnext-dense train upernet_dinov3_convnext_s_ade20k --data-root ADEChallengeData2016 --pretrained FILE

FILE is the one named below, given out by Meta once its licence is accepted, or a copy of the hub's
facebook/dinov3-convnext-small-pretrain-lvd1689m. Published: no scores with these heads that we know. Not trained by us.
"""

_base_ = './upernet_convnext_t_ade20k.py'

model = dict(
    backbone=dict(
        arch='small', drop_path_rate=0.3, init_cfg=dict(checkpoint='dinov3_convnext_small_pretrain_lvd1689m-296db49d.pth')
    )
)
