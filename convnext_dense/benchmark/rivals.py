"""The models that the benchmark compares: ours, mmseg's and mmdet's own, and the peers that are installed.

Each rival is a builder of a `Contender`, from random weights. Ours, the official and the stock ones get the same weights, so
that the benchmark can check that they compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from torch import Tensor, nn

from convnext_dense.models.convnext import ConvNeXt, LayerNorm2d
from convnext_dense.recipes import recipes
from convnext_dense.run.options import load_config
from convnext_dense.weights.layouts import LAYOUTS, from_official

WIDTHS, DEPTHS, CLASSES = [96, 192, 384, 768], [3, 3, 9, 3], 150  # ConvNeXt-T, ADE20K
AUXILIARY = 0.4  # weight of the auxiliary head's loss in the recipes


@dataclass
class Contender:
    """A model with what one forward pass gives and what one training step's loss is.

    `compare` gives the tensors to compare with a rival's, where the result itself has an order that rounding can change.
    """

    model: nn.Module
    infer: Callable[[Tensor], Any]
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    compare: Callable[[Tensor], Any] | None = None
    autocast: bool = False  # in 16 bits: by autocast, where the model does not run as a whole in them


# The backbone alone


class OfficialNorm(nn.Module):
    """The official code's channels-first LayerNorm, in the operations that it is written in."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


@MODELS.register_module()
class OfficialConvNeXt(ConvNeXt):
    """The backbone in the layers, and in the memory layout, of the paper's code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, fused=False)
        for parent in (*self.downsample_layers, self):
            for name, child in parent.named_children():
                if isinstance(child, LayerNorm2d):
                    setattr(parent, name, OfficialNorm(child))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            maps.append(getattr(self, f'norm{i}')(x))
        return tuple(maps)


def backbone(model: nn.Module, maps: Callable[[Tensor], Any] | None = None) -> Contender:
    run = maps or model
    return Contender(model, lambda x: list(run(x)), lambda x, _: sum(m.float().square().mean() for m in run(x)))


def our_backbone(**options: Any) -> Contender:
    return backbone(ConvNeXt('tiny', layer_scale_init_value=1.0, **options))


def official_backbone() -> Contender:
    return backbone(OfficialConvNeXt(arch='tiny', layer_scale_init_value=1.0))


def timm_backbone() -> Contender:
    import timm

    return backbone(timm.create_model('convnext_tiny', features_only=True))


def torchvision_backbone() -> Contender:
    return backbone(TorchvisionConvNeXt(norms=False))


def transformers_backbone() -> Contender:
    from transformers import ConvNextBackbone

    model = ConvNextBackbone(_transformers_config())
    return backbone(model, lambda x: model(x).feature_maps)


def _transformers_config() -> Any:
    from transformers import ConvNextConfig

    stages = [f'stage{i}' for i in range(1, 5)]
    return ConvNextConfig(hidden_sizes=WIDTHS, depths=DEPTHS, out_features=stages)


@MODELS.register_module()
class TorchvisionConvNeXt(BaseModule):
    """torchvision's ConvNeXt-T as a backbone, with the output norms of dense heads."""

    def __init__(self, norms: bool = True) -> None:
        super().__init__()
        from torchvision.models import convnext_tiny

        self.features = convnext_tiny(stochastic_depth_prob=0).features
        self.norms = nn.ModuleList(LayerNorm2d(width, eps=1e-6) if norms else nn.Identity() for width in WIDTHS)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i % 2:
                maps.append(self.norms[i // 2](x))
        return tuple(maps)


# UperNet at 150 classes; what comes out are logits of the image's size.


def segmentor(cfg: dict) -> Contender:
    model = MODELS.build(ConfigDict(cfg, _scope_='mmseg'))

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        from mmseg.structures import SegDataSample

        samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
        return sum(value for name, value in model.loss(images, samples).items() if 'loss' in name)

    return Contender(model, lambda x: model.encode_decode(x, [dict(img_shape=x.shape[2:])]), loss)


def recipe(name: str) -> Config:
    """A recipe without what no rival has: pre-trained weights, dropped branches."""
    cfg = load_config(str(recipes()[name]))
    for node in (cfg.model, cfg.model.get('decode_head', {}), cfg.model.get('auxiliary_head', {})):
        if 'norm_cfg' in node:
            node.norm_cfg = dict(type='BN')
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.drop_path_rate = 0.0  # no rival drops branches
    for head in (cfg.model.get('decode_head'), cfg.model.get('auxiliary_head')):
        if head:
            head.dropout_ratio = 0.0
    return cfg


def our_upernet() -> Contender:
    return segmentor(recipe('upernet_convnext_t_ade20k').model)


def stock_segmentor_cfg(backbone: dict) -> ConfigDict:
    """UperNet-T with mmseg's own segmentor and heads; entries of `backbone` are set in the recipe's."""
    model = recipe('upernet_convnext_t_ade20k').model
    model.type, model.decode_head.type, model.auxiliary_head.type = 'EncoderDecoder', 'UPerHead', 'FCNHead'
    model.backbone.update(backbone)
    for key in ('batch_size', 'keep_logits'):
        model.test_cfg.pop(key)
    return model


def stock_upernet() -> Contender:
    """mmseg's own segmentor and heads on the official backbone."""
    return segmentor(stock_segmentor_cfg(dict(type='OfficialConvNeXt')))


def _swin(scope: str) -> dict:
    return dict(type=f'{scope}.SwinTransformer', drop_path_rate=0.0)  # its defaults are Swin-T


def swin_upernet() -> Contender:
    model = stock_segmentor_cfg({})
    model.backbone = ConfigDict(_swin('mmseg'))
    return segmentor(model)


def transformers_upernet() -> Contender:
    from transformers import UperNetConfig, UperNetForSemanticSegmentation

    config = UperNetConfig(backbone_config=_transformers_config(), num_labels=CLASSES, hidden_size=512)
    config.auxiliary_loss_weight = AUXILIARY
    model = UperNetForSemanticSegmentation(config)
    auxiliary = model.auxiliary_head

    def infer(x: Tensor) -> Tensor:
        model.auxiliary_head = None  # its logits are for the loss alone
        logits = model(x).logits
        model.auxiliary_head = auxiliary
        return logits

    return Contender(model, infer, lambda x, labels: model(x, labels=labels).loss)


def smp_upernet() -> Contender:
    import segmentation_models_pytorch as smp

    model = smp.UPerNet('tu-convnext_tiny', encoder_weights=None, decoder_channels=512, classes=CLASSES)
    return Contender(model, model, lambda x, labels: F.cross_entropy(model(x), labels, ignore_index=255))


# Mask R-CNN; what comes out are boxes and masks of one image.


def spread_scores(model: Any) -> None:
    """Random heads of a detector would find nothing, and the mask head would not run: let a hundred boxes pass."""
    if not hasattr(model, 'roi_head'):
        return
    generator = torch.Generator().manual_seed(0)
    for layer in (model.roi_head.bbox_head.fc_cls, model.rpn_head.rpn_cls):
        layer.weight.data = 0.5 * torch.randn(layer.weight.shape, generator=generator)


def detector(model_cfg: dict, backbone: dict | None = None) -> Contender:
    if backbone:
        model_cfg['backbone'] = ConfigDict(backbone)
    model = MODELS.build(ConfigDict(model_cfg, _scope_='mmdet'))
    spread_scores(model)

    def infer(x: Tensor) -> Any:
        from mmdet.structures import DetDataSample

        size = tuple(x.shape[2:])
        meta = dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
        return model.predict(x, [DetDataSample(metainfo=meta)])[0].pred_instances

    def maps(x: Tensor) -> list[Tensor]:
        features = model.extract_feat(x)
        return [*features, *(score for level in model.rpn_head(features) for score in level)]

    return Contender(model, infer, compare=maps)


def _mask_rcnn() -> ConfigDict:
    return recipe('mask_rcnn_convnext_t_coco').model


def our_mask_rcnn() -> Contender:
    return detector(_mask_rcnn())


def stock_mask_rcnn() -> Contender:
    cfg = stock_detector_cfg()
    return detector(cfg, dict(type='TorchvisionConvNeXt'))


def stock_detector_cfg() -> ConfigDict:
    cfg = _mask_rcnn()
    cfg.rpn_head.type, cfg.roi_head.mask_head.type = 'RPNHead', 'FCNMaskHead'
    for node in (cfg.neck, cfg.roi_head.mask_head):
        node.pop('conv_cfg')
    return cfg


def swin_mask_rcnn() -> Contender:
    return detector(stock_detector_cfg(), _swin('mmdet'))


def share_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Give `theirs`, the same model on another implementation of the backbone, the weights of `ours`."""
    state = {name: value.clone() for name, value in ours.state_dict().items()}
    if any(isinstance(module, TorchvisionConvNeXt) for module in theirs.modules()):
        body = {name.removeprefix('backbone.'): value for name, value in state.items() if name.startswith('backbone.')}
        norms = {f'backbone.norms.{name[4:]}': body.pop(name) for name in list(body) if name.startswith('norm')}
        renamed, _ = from_official(body, LAYOUTS['torchvision'], tuple(DEPTHS), False)
        state = {name: value for name, value in state.items() if not name.startswith('backbone.')} | norms
        state |= {f'backbone.{name}': value for name, value in renamed.items()}
    theirs.load_state_dict(state)


BACKBONES = {
    'convnext_dense': our_backbone,
    'official': official_backbone,
    'timm': timm_backbone,
    'torchvision': torchvision_backbone,
    'transformers': transformers_backbone,
}
UPERNETS = {
    'convnext_dense': our_upernet,
    'mmseg': stock_upernet,
    'transformers': transformers_upernet,
    'segmentation_models_pytorch': smp_upernet,
    'Swin-T, mmseg': swin_upernet,
}
MASK_RCNNS = {'convnext_dense': our_mask_rcnn, 'mmdet with torchvision': stock_mask_rcnn, 'Swin-T, mmdet': swin_mask_rcnn}
SAME = ('official', 'mmseg', 'mmdet with torchvision')  # rivals that must compute what ours computes
