"""Small two-stage detectors of the recipes' kinds that find many objects untrained, and how to compare what was found."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from conftest import ROOT
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from convnext_dense.run.options import load_config
from convnext_dense.run.settle import settle_norms

RECIPES = {'mask': 'mask_rcnn_convnext_t_coco', 'cascade': 'cascade_mask_rcnn_convnext_t_coco'}
WIDTH, CLASSES = 16, 5


def small_config(kind: str) -> Config:
    """The recipe, with narrow layers and few proposals."""
    cfg = load_config(str(ROOT / 'configs' / f'{RECIPES[kind]}.py'))
    settle_norms(cfg, 1)
    dims = [8, 16, 24, 32]
    cfg.model.backbone = dict(type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], dims=dims), layer_scale_init_value=1.0)
    cfg.model.neck.update(in_channels=dims, out_channels=WIDTH)
    cfg.model.rpn_head.update(in_channels=WIDTH, feat_channels=WIDTH)
    roi_head = cfg.model.roi_head
    for extractor in (roi_head.bbox_roi_extractor, roi_head.mask_roi_extractor):
        extractor.out_channels = WIDTH
    roi_head.mask_head.update(num_convs=1, in_channels=WIDTH, conv_out_channels=WIDTH, num_classes=CLASSES)
    for head in roi_head.bbox_head if kind == 'cascade' else [roi_head.bbox_head]:
        head.update(in_channels=WIDTH, fc_out_channels=32, num_classes=CLASSES)
        if kind == 'cascade':
            head.update(conv_out_channels=WIDTH, num_shared_convs=1)
    cfg.model.test_cfg.rpn.update(nms_pre=200, max_per_img=120)
    cfg.model.test_cfg.rcnn.max_per_img = 40
    return cfg


def built(cfg: Config) -> Any:
    """The model with weights that spread the scores and move the boxes."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    spread = {'rpn_cls': 2.0, 'rpn_reg': 0.1, 'fc_cls': 3.0, 'fc_reg': 0.3, 'conv_logits': 1.0}
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity='linear')
                layer.weight *= spread.get(name.rsplit('.', 1)[-1], 1.0)
    return model.eval()


def predicted(model: Any, picture: np.ndarray) -> InstanceData:
    """mmdet's own answer: picture (H, W, 3) of bytes, RGB."""
    height, width = picture.shape[:2]
    sample = DetDataSample(metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0)))
    bgr = torch.from_numpy(picture[..., ::-1].transpose(2, 0, 1).copy())
    with torch.no_grad():
        data = model.data_preprocessor(dict(inputs=[bgr], data_samples=[sample]))
        return model.predict(data['inputs'], data['data_samples'])[0].pred_instances


def found(results: tuple[Any, ...], image: int = 0) -> list[Tensor]:
    """Boxes, scores, labels and masks of one image, without the places that nothing fills."""
    boxes, scores, labels, *masks = (torch.as_tensor(np.asarray(result)[image]) for result in results)
    count = int((labels >= 0).sum())
    assert not scores[count:].any() and (labels[count:] == -1).all() and not boxes[count:].any()
    return [part[:count] for part in (boxes, scores, labels, *masks)]


def expect_same(ours: list[Tensor], theirs: list[Tensor], pixels: float, least: int = 20) -> None:
    """Boxes matched one to one, whatever the order of equal scores."""
    assert len(ours[0]) == len(theirs[0]) >= least
    assert theirs[2].unique().numel() > 1
    apart = torch.cdist(ours[0], theirs[0], p=float('inf'))
    apart = apart + 1e6 * (ours[2][:, None] != theirs[2]) + (ours[1][:, None] - theirs[1]).abs()
    match = apart.argmin(dim=1)
    assert match.unique().numel() == len(match)
    torch.testing.assert_close(ours[0], theirs[0][match], atol=pixels, rtol=0)
    torch.testing.assert_close(ours[1], theirs[1][match], atol=1e-3, rtol=0)
    assert (ours[2] == theirs[2][match]).all()
    for mine, other in zip(ours[3:], theirs[3:]):
        torch.testing.assert_close(mine, other[match], atol=1e-3, rtol=0)
