"""What a model will call of mmcv's operators, before it does."""

import pytest
from detectors import build
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from zoo_detectors import detector_config

from convnext_dense.mmcv_ext.needed import needed


def test_of_a_mask_rcnn() -> None:
    found = needed(build(detector_config('mask_rcnn')))
    assert {'roi_align_forward', 'roi_align_backward', 'nms'} <= set(found)
    assert not {'nms_match', 'carafe_forward', 'deform_conv_forward', 'masked_im2col_forward'} & set(found)
    assert found['roi_align_forward'] == 'mmcv.ops.roi_align.RoIAlign'


def test_of_a_neck_of_carafe() -> None:
    found = needed(build(detector_config('carafe')))
    assert found['carafe_forward'].startswith('mmcv.ops.carafe.CARAFE')


def test_of_samplers_that_are_no_modules() -> None:
    """PISA's asks for nms_match first when scores exceed 0.05, some steps into the training."""
    init_default_scope('mmdet')
    model = MODELS.build(get_config('mmdet::pisa/mask-rcnn_r50_fpn_pisa_1x_coco.py').model)
    assert needed(model)['nms_match'] == 'mmdet.models.task_modules.samplers.score_hlr_sampler.ScoreHLRSampler'


@pytest.mark.parametrize('model', [nn.Conv2d(1, 1, 1), nn.Sequential()])
def test_of_a_model_without_them(model: nn.Module) -> None:
    assert needed(model) == {}
