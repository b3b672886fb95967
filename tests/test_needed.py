"""What a model will call of mmcv's operators, before it does."""

import pytest
import torch
from detectors import build
from mmcv.ops import PrRoIPool, SubMConv3d, points_in_boxes_cpu, prroi_pool
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from zoo_detectors import detector_config

from convnext_dense.mmcv_ext.needed import needed
from convnext_dense.ops import missing


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


class OwnPool(PrRoIPool):
    """A user's, of a package of their own."""


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = dict(pool=OwnPool(2, 1.0))

    def forward(self, x: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        return prroi_pool(x, rois, 2, 1.0)


class Calls(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return points_in_boxes_cpu(x, x)


class Derived(SingleRoIExtractor):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return points_in_boxes_cpu(x, x)


@pytest.mark.parametrize(
    ('model', 'name', 'where'),
    [
        (OwnPool(2, 1.0), 'prroi_pool_forward', 'OwnPool'),
        (nn.Sequential(nn.Sequential(Own())), 'prroi_pool_forward', 'Own'),
        (SubMConv3d(4, 4, 3), 'indice_conv_forward', 'mmcv.ops.sparse_conv.SubMConv3d'),
        (nn.Sequential(Calls()), 'points_in_boxes_cpu_forward', 'Calls'),
        (Derived(dict(type='RoIAlign', output_size=7), 8, [4]), 'points_in_boxes_cpu_forward', 'Derived'),
    ],
    ids=['a subclass', 'in a dict', 'by a module', 'a call', 'a method of a subclass'],
)
def test_of_a_user_s_own_classes(model: nn.Module, name: str, where: str) -> None:
    assert needed(model)[name] == (where if '.' in where else f'{__name__}.{where}')
    assert name in missing(model)
