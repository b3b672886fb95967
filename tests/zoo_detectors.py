"""A stock config of every family of MMDetection that detects in images, with ConvNeXt in it, and what else each is given."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from zoo_configs import children, convnext, fit, stages_of, stock_config

# Folder of MMDetection's configs, and a topic where it has several -> config.
DETECTORS = {
    'atss': 'atss_r50_fpn_1x_coco',
    'autoassign': 'autoassign_r50-caffe_fpn_1x_coco',
    'boxinst': 'boxinst_r50_fpn_ms-90k_coco',
    'carafe': 'faster-rcnn_r50_fpn-carafe_1x_coco',
    'carafe, mask': 'mask-rcnn_r50_fpn-carafe_1x_coco',
    'cascade_rcnn': 'cascade-mask-rcnn_r50_fpn_1x_coco',
    'cascade_rpn': 'cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco',
    'centernet': 'centernet_r18-dcnv2_8xb16-crop512-140e_coco',
    'centernet, update': 'centernet-update_r50_fpn_8xb8-amp-lsj-200e_coco',
    'centripetalnet': 'centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco',
    'condinst': 'condinst_r50_fpn_ms-poly-90k_coco_instance',
    'conditional_detr': 'conditional-detr_r50_8xb2-50e_coco',
    'cornernet': 'cornernet_hourglass104_8xb6-210e-mstest_coco',
    'crowddet': 'crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman',
    'dab_detr': 'dab-detr_r50_8xb2-50e_coco',
    'dcn, pooling': 'faster-rcnn_r50_fpn_dpool_1x_coco',
    'dcnv2, pooling': 'faster-rcnn_r50_fpn_mdpool_1x_coco',
    'ddod': 'ddod_r50_fpn_1x_coco',
    'ddq': 'ddq-detr-4scale_r50_8xb2-12e_coco',
    'deformable_detr': 'deformable-detr_r50_16xb2-50e_coco',
    'deformable_detr, two stages': 'deformable-detr-refine-twostage_r50_16xb2-50e_coco',
    'detectors': 'detectors_cascade-rcnn_r50_1x_coco',
    'detr': 'detr_r50_8xb2-150e_coco',
    'dino': 'dino-4scale_r50_8xb2-12e_coco',
    'double_heads': 'dh-faster-rcnn_r50_fpn_1x_coco',
    'dyhead': 'atss_r50_fpn_dyhead_1x_coco',
    'dynamic_rcnn': 'dynamic-rcnn_r50_fpn_1x_coco',
    'fast_rcnn': 'fast-rcnn_r50_fpn_1x_coco',
    'faster_rcnn': 'faster-rcnn_r50_fpn_1x_coco',
    'fcos': 'fcos_r50-caffe_fpn_gn-head_1x_coco',
    'foveabox': 'fovea_r50_fpn_gn-head-align_4xb4-2x_coco',
    'fpg': 'faster-rcnn_r50_fpg-chn128_crop640-50e_coco',
    'free_anchor': 'freeanchor_r50_fpn_1x_coco',
    'fsaf': 'fsaf_r50_fpn_1x_coco',
    'gfl': 'gfl_r50_fpn_1x_coco',
    'ghm': 'retinanet_r50_fpn_ghm-1x_coco',
    'glip': 'glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco',
    'gn+ws': 'faster-rcnn_r50_fpn_gn-ws-all_1x_coco',
    'grid_rcnn': 'grid-rcnn_r50_fpn_gn-head_1x_coco',
    'groie': 'faste-rcnn_r50_fpn_groie_1x_coco',
    'grounding_dino': 'grounding_dino_r50_scratch_8xb2_1x_coco',
    'guided_anchoring': 'ga-faster-rcnn_r50_fpn_1x_coco',
    'guided_anchoring, one stage': 'ga-retinanet_r50_fpn_1x_coco',
    'hrnet': 'faster-rcnn_hrnetv2p-w18-1x_coco',
    'htc': 'htc_r50_fpn_1x_coco',
    'lad': 'lad_r50-paa-r101_fpn_2xb8_coco_1x',
    'ld': 'ld_r18-gflv1-r101_fpn_1x_coco',
    'libra_rcnn': 'libra-faster-rcnn_r50_fpn_1x_coco',
    'lvis': 'mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1',
    'mask2former': 'mask2former_r50_8xb2-lsj-50e_coco',
    'mask_rcnn': 'mask-rcnn_r50_fpn_1x_coco',
    'maskformer': 'maskformer_r50_ms-16xb1-75e_coco',
    'mm_grounding_dino': 'grounding_dino_swin-t_pretrain_obj365',
    'ms_rcnn': 'ms-rcnn_r50_fpn_1x_coco',
    'nas_fcos': 'nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco',
    'nas_fpn': 'retinanet_r50_nasfpn_crop640-50e_coco',
    'paa': 'paa_r50_fpn_1x_coco',
    'pafpn': 'faster-rcnn_r50_pafpn_1x_coco',
    'panoptic_fpn': 'panoptic-fpn_r50_fpn_1x_coco',
    'pisa': 'mask-rcnn_r50_fpn_pisa_1x_coco',
    'point_rend': 'point-rend_r50-caffe_fpn_ms-1x_coco',
    'queryinst': 'queryinst_r50_fpn_1x_coco',
    'reppoints': 'reppoints-moment_r50_fpn-gn_head-gn_1x_coco',
    'retinanet': 'retinanet_r50_fpn_1x_coco',
    'rpn': 'rpn_r50_fpn_1x_coco',
    'rtmdet': 'rtmdet_tiny_8xb32-300e_coco',
    'rtmdet, masks': 'rtmdet-ins_tiny_8xb32-300e_coco',
    'sabl': 'sabl-faster-rcnn_r50_fpn_1x_coco',
    'scnet': 'scnet_r50_fpn_1x_coco',
    'seesaw_loss': 'mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1',
    'soft_teacher': 'soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.01-coco',
    'solo': 'decoupled-solo_r50_fpn_1x_coco',
    'solov2': 'solov2_r50_fpn_1x_coco',
    'sparse_rcnn': 'sparse-rcnn_r50_fpn_1x_coco',
    'ssd': 'ssd300_coco',
    'tood': 'tood_r50_fpn_1x_coco',
    'tridentnet': 'tridentnet_r50-caffe_1x_coco',
    'vfnet': 'vfnet_r50-mdconv-c3-c5_fpn_ms-2x_coco',
    'yolact': 'yolact_r50_1xb8-55e_coco',
    'yolo': 'yolov3_d53_8xb8-ms-608-273e_coco',
    'yolof': 'yolof_r50-c5_8xb8-1x_coco',
    'yolox': 'yolox_s_8xb8-300e_coco',
}
# Those that the suite trains each time, by the names that docs/plugin.md gives them.
TRIED = {
    'RetinaNet': 'retinanet',
    'FCOS': 'fcos',
    'ATSS': 'atss',
    'GFL': 'gfl',
    'Faster R-CNN': 'faster_rcnn',
    'Mask R-CNN': 'mask_rcnn',
    'Cascade Mask R-CNN': 'cascade_rcnn',
    'Sparse R-CNN': 'sparse_rcnn',
    'SOLOv2': 'solov2',
    'CondInst': 'condinst',
    'Mask2Former': 'mask2former',
    'Deformable DETR': 'deformable_detr',
    'DINO': 'dino',
    'Faster R-CNN with CARAFE': 'carafe',
    'ATSS with DyHead': 'dyhead',
    'PISA': 'pisa',
    'CenterNet': 'centernet',
}
# Folders without a family of their own: another backbone (the convolutions of dcn and dcnv2 are in theirs), schedule, data
# set, or norm in one of the above; tracking in videos and re-identification.
NO_FAMILY = {
    'backbone': 'convnext efficientnet empirical_attention gcnet pvt regnet res2net resnest resnet_strikes_back swin '
    'timm_example',
    'schedule': 'albu_example common gn instaboost legacy_1.x misc scratch selfsup_pretrain simple_copy_paste strong_baselines',
    'data': 'cityscapes deepfashion dsdl objects365 openimages pascal_voc v3det wider_face',
    'video': 'bytetrack deepsort mask2former_vis masktrack_rcnn ocsort qdtrack reid sort strongsort',
}


def path_of(family: str) -> str:
    """The config's path in MMDetection's folder of configs."""
    return f'{family.split(", ")[0]}/{DETECTORS[family]}.py'


def detector_config(family: str, stock: bool = False) -> Config:
    """The family's config with ConvNeXt-atto, or with its own backbone, and as few RoIs as take seconds."""
    return with_convnext(stock_config('mmdet', path_of(family)), stock)


def with_convnext(cfg: Config, stock: bool = False) -> Config:
    """The same for a config at hand, which is changed."""
    model = cfg.model
    model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    detector = model.get('detector', model)
    (detector if 'data_preprocessor' in detector else model).data_preprocessor.pop('batch_augments', None)  # pad to 1024 pixels
    if not stock:
        replace_backbone(detector)
    if model.get('teacher_config'):
        teacher = stock_config('mmdet', model.teacher_config.removeprefix('configs/'))
        model.teacher_config = with_convnext(teacher, stock)
    shrink(detector)
    return cfg


def replace_backbone(model: Any) -> None:
    for prefix in ('', 'teacher_'):
        if f'{prefix}backbone' not in model:
            continue
        stages = stages_of(model[f'{prefix}backbone'])
        model[f'{prefix}backbone'] = convnext(stages)
        necks = model.get(f'{prefix}neck')
        heads = [model[name] for name in ('panoptic_head', 'bbox_head', 'rpn_head') if model.get(name)]
        taker = necks[0] if isinstance(necks, list) else necks or heads[0]
        fit(taker, stages)
        if taker.type == 'SSDNeck':  # adds maps of its own, and its head takes them all
            taker.out_channels = [*taker.in_channels, *taker.out_channels[len(stages) :]]
            model.bbox_head.in_channels = taker.out_channels
        if 'num_feat_levels' in taker:  # CornerNet's: one for each of its two hourglasses
            taker.num_feat_levels = len(stages)


FEW = dict(max_per_img=20, nms_pre=200, nms_post=20, num=32, score_thr=0.0, filter_thr=0.0, update_thr=0.0)


def shrink(node: Any) -> None:
    """Few proposals, samples and queries; scores from 0 on, so that there are results of untrained heads."""
    if isinstance(node, dict):
        for key in FEW.keys() & node.keys():
            if isinstance(node[key], (int, float)):
                node[key] = type(node[key])(min(node[key], FEW[key]))
        for key, most in dict(num_queries=40, num_proposals=20, num_dn_queries=8).items():
            if isinstance(node.get(key), int):
                node[key] = min(node[key], most)
        if 'num_layers' in node and ('layer_cfg' in node):
            node.num_layers = min(node.num_layers, 2)
            if 'num_cp' in node:  # layers whose activations are computed twice, by fairscale
                node.num_cp = 0
    for child in children(node):
        shrink(child)
