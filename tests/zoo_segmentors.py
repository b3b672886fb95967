"""A stock config of every head of MMSegmentation, with ConvNeXt-atto in it."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from zoo_configs import ARCH, convnext, dims_of, stock_config

# Class of the head -> config of MMSegmentation's.
HEADS = {
    'ANNHead': 'ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024',
    'APCHead': 'apcnet/apcnet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'ASPPHead': 'deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024',
    'CCHead': 'ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'DAHead': 'danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'DDRHead': 'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024',
    'DMHead': 'dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'DNLHead': 'dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-512x1024',
    'DPTHead': 'dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512',
    'DepthwiseSeparableASPPHead': 'deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024',
    'DepthwiseSeparableFCNHead': 'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024',
    'EMAHead': 'emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024',
    'EncHead': 'encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'FCNHead': 'fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024',
    'FPNHead': 'sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024',
    'GCHead': 'gcnet/gcnet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'ISAHead': 'isanet/isanet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'IterativeDecodeHead': 'knet/knet-s3_r50-d8_deeplabv3_8xb2-adamw-80k_ade20k-512x512',
    'LRASPPHead': 'mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024',
    'LightHamHead': 'segnext/segnext_mscan-b_1xb16-adamw-160k_ade20k-512x512',
    'Mask2FormerHead': 'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512',
    'MaskFormerHead': 'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512',
    'NLHead': 'nonlocal_net/nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024',
    'OCRHead': 'ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024',
    'PIDHead': 'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes',
    'PSAHead': 'psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'PSPHead': 'pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'PointHead': 'point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024',
    'SETRMLAHead': 'setr/setr_vit-l-mla_8xb1-160k_ade20k-512x512',
    'SETRUPHead': 'setr/setr_vit-l_pup_8xb1-80k_cityscapes-768x768',
    'STDCHead': 'stdc/stdc1_4xb12-80k_cityscapes-512x1024',
    'SegformerHead': 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512',
    'SegmenterMaskTransformerHead': 'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512',
    'SideAdapterCLIPHead': 'san/san-vit-b16_coco-stuff164k-640x640',
    'UPerHead': 'upernet/upernet_r50_4xb2-40k_cityscapes-512x1024',
    'VPDDepthHead': 'vpd/vpd_sd_4xb8-25k_nyu-480x480',
}
CROP = (128, 128)
ARCH_OF = {'VPDDepthHead': 'femto'}  # norms of 16 groups of channels
CROPS = {'LRASPPHead': (800, 800)}  # pools over windows of 49x49 places of a map


def segmentor_config(head: str, stock: bool = False) -> Config:
    """The config of a class of head with ConvNeXt-atto, or with its own backbone, for images of `crop_of`."""
    cfg = stock_config('mmseg', f'{HEADS[head]}.py')
    model = cfg.model
    for key in ('batch_augments', 'size_divisor'):
        model.data_preprocessor.pop(key, None)
    model.data_preprocessor.update(size=crop_of(head), test_cfg=dict(size_divisor=32))
    model.test_cfg.update(mode='whole')
    if 'text_encoder' in model:  # 14 templates for each of 171 classes, through 12 layers
        model.text_encoder.update(templates=['{}'], num_layers=1)
    if not stock:
        arch = ARCH_OF.get(head, ARCH)
        model['backbone' if 'backbone' in model else 'image_encoder'] = convnext((0, 1, 2, 3), arch)
        if model.get('neck'):
            model.neck.in_channels = dims_of(arch)
        else:
            for key in ('decode_head', 'auxiliary_head'):
                fit_heads(model.get(key), dims_of(arch))
    return cfg


def crop_of(head: str) -> tuple[int, int]:
    return CROPS.get(head, CROP)


def fit_heads(node: Any, dims: list[int]) -> None:
    """Give each head, or the head within it, the channels of the maps that it takes, by their index."""
    if isinstance(node, (list, tuple)):
        for head in node:
            fit_heads(head, dims)
    elif isinstance(node, dict) and 'in_channels' in node:
        index = node.get('in_index')
        if isinstance(node.in_channels, int):
            node.in_channels = dims[-1 if index is None else index]
        else:
            node.in_channels = [dims[i] for i in index] if index is not None else dims
        if 'c1_in_channels' in node:  # DeepLabv3+'s: of the first map
            node.c1_in_channels = dims[0]
    elif isinstance(node, dict):
        fit_heads(node.get('kernel_generate_head'), dims)
