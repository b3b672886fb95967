import pytest
import torch
from two_stage import built, small_config

from convnext_dense.errors import InputError
from convnext_dense.export.detector_graph import DetectorGraph


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'test_cfg.rcnn.nms.type': 'soft_nms'}, r"test_cfg.rcnn.nms: expected dict\(type='nms'.*got .*soft_nms"),
        ({'test_cfg.rpn.nms_pre': -1}, 'test_cfg.rpn.nms_pre: expected a whole number from 1 up for export, got -1; '),
        ({'test_cfg.rcnn.max_per_img': -1}, 'test_cfg.rcnn.max_per_img: expected a whole number'),
        ({'rpn_head.bbox_coder.add_ctr_clamp': True}, 'rpn_head.bbox_coder.add_ctr_clamp: expected False'),
        ({'roi_head.bbox_roi_extractor.type': 'GenericRoIExtractor'}, 'bbox_roi_extractor: expected SingleRoIExtractor'),
        ({'roi_head.bbox_roi_extractor.roi_layer.pool_mode': 'max'}, "RoIAlign with pool_mode='avg'"),
        (
            {'roi_head.type': 'DoubleHeadRoIHead', 'roi_head.reg_roi_scale_factor': 1.3},
            'roi_head: expected StandardRoIHead, CascadeRoIHead for export, got DoubleHead',
        ),
        ({'rpn_head.loss_cls.use_sigmoid': False}, 'rpn_head.loss_cls.use_sigmoid: expected True'),
    ],
)
def test_what_would_differ_is_refused(changes, message):
    cfg = small_config('mask')
    cfg.merge_from_dict({f'model.{name}': value for name, value in changes.items()})
    with pytest.raises(InputError, match=message):
        DetectorGraph(built(cfg))


def test_other_models_are_refused():
    with pytest.raises(InputError, match='model: expected FasterRCNN, MaskRCNN, CascadeRCNN.*got Identity; export a'):
        DetectorGraph(torch.nn.Identity())
