"""The heads on the first images, with random maps in place of the backbone's."""

import pytest
import torch
from conftest import SHAPES_COCO
from mmengine.config import Config

from convnext_dense import ConvNeXt, InputError
from convnext_dense.run.first_images import CROP, FEW, FirstImages, RandomMaps
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta


def test_the_maps_are_those_of_the_backbone() -> None:
    backbone = ConvNeXt(dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), out_indices=(1, 3))
    maps = RandomMaps(backbone.out_channels, backbone.out_strides)(torch.zeros(2, 3, 96, 64))
    assert [m.shape for m in maps] == [m.shape for m in backbone(torch.zeros(2, 3, 96, 64))]


def test_few_boxes_in_every_stage() -> None:
    cfg = load_config(SHAPES_COCO)
    cfg.model.backbone.init_cfg = None
    model = FirstImages(cfg, build_on_meta(cfg)).model
    assert model.roi_head.train_cfg.sampler.num == FEW['rcnn.sampler.num'] < cfg.model.train_cfg.rcnn.sampler.num
    assert model.test_cfg.rpn.max_per_img == FEW['rpn.max_per_img'] and model.test_cfg.rcnn.max_per_img == 2
    assert CROP >= 4 * 32  # the smallest map has pixels enough for every pooled size


def test_other_models_are_left_to_their_first_step() -> None:
    first = FirstImages(Config(dict(model=dict(type='ConvNeXt'))), ConvNeXt('atto'))
    assert first.model is None
    first.check_losses('train_dataloader', {})
    first.check_predictions('val_dataloader', {}, None)


def test_what_a_loss_cannot_take_is_a_line() -> None:
    cfg = load_config(SHAPES_COCO)
    cfg.model.backbone.init_cfg = None
    with pytest.raises(InputError, match='model, on the first images of train_dataloader: cannot be trained: '):
        FirstImages(cfg, build_on_meta(cfg)).check_losses('train_dataloader', dict(inputs=[torch.zeros(3, 64, 64)]))
