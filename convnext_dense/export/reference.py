"""What PyTorch gives for a picture, by the config's own pipeline and preprocessor: what a file is held against."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from numpy.typing import NDArray

from convnext_dense.errors import InputError, last_line
from convnext_dense.predict.model import Model
from convnext_dense.predict.steps import build_pipeline, loads_annotations, name_of


class Reference:
    """A model's answers in the form of a graph's outputs.

    Args:
        model: of float32 on the CPU, without tiles.
        raw: pictures are taken as if they were resized already.
    """

    def __init__(self, model: Model, raw: bool = False) -> None:
        self.model, self.raw = model, raw
        steps = [step for step in model.cfg.test_dataloader.dataset.pipeline if not loads_annotations(step)]
        if raw:
            steps = [steps[0], *(step for step in steps if name_of(step).startswith('Pack'))]
        with DefaultScope.overwrite_default_scope(model.cfg.get('default_scope')):
            self.steps: Compose = build_pipeline(steps)[1]  # type: ignore[assignment]

    def prepared(self, rgb: NDArray[np.uint8]) -> dict[str, Any]:
        """A batch of one picture (H, W, 3) before the data preprocessor."""
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        shape = bgr.shape[:2]
        found = dict(img=bgr, img_id=0, img_path='', ori_shape=shape, img_shape=shape, scale_factor=(1.0, 1.0))
        try:
            return pseudo_collate([self.steps(found)])
        except Exception as error:  # of any step
            raise InputError(
                f'--check: a picture of {shape[0]}x{shape[1]} pixels cannot be brought to the model by its config '
                f'({last_line(error)})'
            ) from error

    def taken(self, rgb: NDArray[np.uint8]) -> NDArray[Any]:
        """A picture as a file takes it."""
        if not self.raw:
            return rgb[None]
        inputs = self._inputs(self.prepared(rgb))
        return inputs[:, :, : rgb.shape[0], : rgb.shape[1]].numpy()  # without the preprocessor's padding, which the graph adds

    def answer(self, rgb: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Of a segmentor classes (1, H, W) and logits (1, classes, h, w); of a detector boxes, scores, labels and masks."""
        data = self.prepared(rgb)
        with torch.no_grad():
            return self._segmented(data) if self.model.is_segmentor else self._detected(data)

    def _segmented(self, data: dict[str, Any]) -> list[NDArray[Any]]:
        model: Any = self.model.model
        logits = model.decode_head(model.extract_feat(self._inputs(data)))
        if not isinstance(logits, torch.Tensor):
            raise InputError(
                f'export: expected a head that gives logits, got {type(model.decode_head).__name__}, which gives more'
            )
        given, model.test_cfg = model.test_cfg, Config({**model.test_cfg, 'mode': 'whole'})
        try:
            found = model.test_step(data)[0].pred_sem_seg.data
        finally:
            model.test_cfg = given
        return [found.numpy(), logits.numpy()]

    def _detected(self, data: dict[str, Any]) -> list[NDArray[Any]]:
        found = self.model.model.test_step(data)[0].pred_instances  # type: ignore[operator]
        parts = [found.bboxes, found.scores, found.labels, *([found.masks] if 'masks' in found else [])]
        return [part.numpy() for part in parts]

    def _inputs(self, data: dict[str, Any]) -> torch.Tensor:
        model: Any = self.model.model
        inputs = model.data_preprocessor(data)['inputs']
        return torch.stack(inputs) if isinstance(inputs, list) else inputs
