"""The heads, losses and metrics of the run on its first images, with random maps in place of the backbone's.

What a loss, a sampler or a metric makes of its arguments and of the data shows when it runs. Images are cut to `CROP` pixels
a side: heads resize what they predict to the labels or to the photograph's size, so that it takes a second at any size. The
heads are those that the recipes use; other models are left to their first step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS, DefaultScope
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.models.pyramid import Pretrainable
from convnext_dense.run.trial import part

CROP = 128  # pixels
# Of an image, for time and memory: boxes that are proposed, boxes that are trained on, objects with a full-size mask.
FEW = {'rpn_proposal.max_per_img': 50, 'rpn.max_per_img': 50, 'rcnn.sampler.num': 16, 'rcnn.max_per_img': 2}


class RandomMaps(nn.Module):
    """Maps of a backbone's channels and strides, of normal random numbers."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(zip(channels, strides))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        height, width = x.shape[2:]
        return tuple(torch.randn(len(x), c, height // s, width // s) for c, s in self.sizes)


class FirstImages:
    """The config's model on the first images of each split. `model` is the same on the meta device, not augmented."""

    def __init__(self, cfg: Config, model: nn.Module) -> None:
        self.model = None
        if self._known(model):
            spec = copy.deepcopy(cfg.model)
            node = spec.get('module') or spec  # out of test-time augmentation
            backbone: Any = model.backbone
            node.backbone = dict(type=RandomMaps, channels=backbone.out_channels, strides=backbone.out_strides)
            node.init_cfg = None
            for key, most in FEW.items():
                for entry, name in _places(node, key):
                    if type(entry.get(name)) is int:
                        entry[name] = min(entry[name], most)
            with part('model'), DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
                built = MODELS.build(spec).eval()
                wrapped = not isinstance(built, BaseTTAModel) and hasattr(built, 'module')  # in tiles, which are all alike
                self.model = built.module if wrapped else built

    @staticmethod
    def _known(model: nn.Module) -> bool:
        if not isinstance(getattr(model, 'backbone', None), Pretrainable):
            return False
        two_stage = isinstance(model, TwoStageDetector) and type(model.roi_head) in (StandardRoIHead, CascadeRoIHead)
        return two_stage or isinstance(model, EncoderDecoder)

    def check_losses(self, name: str, batch: Any) -> None:
        """Stop where a loss cannot be taken of the batch, or is not finite."""
        if self.model is None:
            return
        with part(f'model, on the first images of {name}', 'cannot be trained'), torch.no_grad():
            data = self.model.data_preprocessor(copy.deepcopy(batch), True)
            losses = self.model.loss(_cut(data['inputs']), data['data_samples'])
            _, values = self.model.parse_losses(losses)
        wrong = [key for key, value in values.items() if not torch.isfinite(torch.as_tensor(value)).all()]
        if wrong:
            raise InputError(
                f'model, on the first images of {name}: expected finite losses, got {values[wrong[0]]} for {wrong[0]}; '
                'check the arguments of its head, its targets and its loss'
            )

    def check_predictions(self, name: str, batch: Any, evaluator: Evaluator) -> None:
        """Stop where the batch cannot be predicted, or its predictions cannot be judged."""
        if self.model is None:
            return
        with part(f'model, on the first image of {name}', 'cannot predict'), torch.no_grad():
            if isinstance(self.model, BaseTTAModel):
                views = [[image[..., :CROP, :CROP] for image in view] for view in batch['inputs']]
                outputs = self.model.test_step({**copy.deepcopy(batch), 'inputs': views})
            else:
                data = self.model.data_preprocessor(copy.deepcopy(batch), False)
                outputs = self.model.predict(_cut(data['inputs']), data['data_samples'])
        with part(f'evaluator, on the first image of {name}', 'cannot judge a prediction'):
            evaluator.process(data_samples=outputs, data_batch=batch)


def _places(model: Any, key: str) -> Iterator[tuple[dict[str, Any], str]]:
    """(dict, name) of an entry in train_cfg and test_cfg; a cascade has a list of them."""
    *above, name = key.split('.')
    for cfg in (model.get('train_cfg'), model.get('test_cfg')):
        nodes = [cfg] if isinstance(cfg, dict) else []
        for part_of in above:
            below = [node.get(part_of) for node in nodes]
            nodes = [one for node in below for one in (node if isinstance(node, list) else [node]) if isinstance(one, dict)]
        yield from ((node, name) for node in nodes)


def _cut(images: Tensor) -> Tensor:
    return images[..., :CROP, :CROP]
