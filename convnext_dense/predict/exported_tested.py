"""An exported file in the place of a config's model, for tools/test.py: the same data set, evaluator and table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import PixelData

from convnext_dense.data.pipeline import RESIZES
from convnext_dense.errors import InputError
from convnext_dense.predict.exported_about import Resize
from convnext_dense.predict.exported_model import ExportedFile
from convnext_dense.predict.exported_picture import class_map, given_to, objects
from convnext_dense.predict.steps import name_of
from convnext_dense.predict.tile_detector import Objects
from convnext_dense.predict.tiler import instances
from convnext_dense.text import listed

WINDOWS = 'the config predicts by windows; the file takes the whole picture at once'
OWN_SIZE = dict(type='Resize', scale_factor=1.0, keep_ratio=True)  # which says so where it is asked for


@MODELS.register_module()
class ExportedTested(BaseModel):
    """A model whose answers are an exported file's.

    Args:
        path: see ExportedFile.
    """

    def __init__(self, path: str, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor)
        self.file = ExportedFile(path)

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """Images (3, H, W) in BGR bytes at their own size, and their data samples, to data samples with predictions."""
        about, samples = self.file.about, []
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            bgr = image.permute(1, 2, 0).cpu().numpy()
            if bgr.shape[2] != 3 or bgr.dtype != np.uint8:
                raise InputError(
                    f'{self.file.path}: expected pictures of three channels of bytes, got {bgr.shape[2]} of {bgr.dtype}; '
                    'test its checkpoint'
                )
            try:
                given = given_to(about, bgr)
            except InputError as error:
                raise InputError(f'{sample.metainfo.get("img_path", "a picture")} {error}') from error
            sides, size = given.shape[1:] if about.channels_first else given.shape[:2], bgr.shape[:2]
            outputs = self.file.run(given[None])
            if about.is_segmentor:
                mask = class_map(about, outputs, 0, sides, size)
                sample.pred_sem_seg = PixelData(data=torch.from_numpy(mask.astype(np.int64))[None])
            else:
                sample.pred_instances = instances(Objects(*objects(about, outputs, sides, size)), size)
            samples.append(sample)
        return samples

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing is trained, and nothing predicted but by `test_step`."""
        raise NotImplementedError


def by_windows(cfg: Config) -> bool:
    """Whether the config's segmentor predicts a picture in parts, which an exported file does not."""
    return bool(cfg.model.get('test_cfg', {}).get('mode') == 'slide')


def use_exported(cfg: Config, file: ExportedFile, classes: Sequence[str]) -> list[str]:
    """Test the file in place of `cfg.model`, on pictures of their own size; lines for the log.

    `classes` are those of the data.

    Raises:
        InputError: for a file of another task than the config's, and other classes.
    """
    about = file.about
    if about.is_segmentor != ('decode_head' in cfg.model):
        kinds = {True: 'segmentor', False: 'detector'}
        expected, got = kinds['decode_head' in cfg.model], kinds[about.is_segmentor]
        raise InputError(f'model {file.path}: expected a {expected}, as the config has it, got a {got}; name another config')
    if classes and list(classes) != list(about.classes):
        raise InputError(
            f'model {file.path} was trained on other classes than the data has: expected {listed(classes)}; got '
            f'{listed(about.classes)}'
        )
    windows = about.is_segmentor and by_windows(cfg)
    pipeline = cfg.test_dataloader.dataset.pipeline
    theirs = [step for step in pipeline if name_of(step) in RESIZES]
    cfg.test_dataloader.dataset.pipeline = [OWN_SIZE if name_of(step) in RESIZES else step for step in pipeline]
    cfg.model = dict(type='mmengine.ExportedTested', path=file.path)
    lines = [f'{file.path} is tested, exported from {about.checkpoint or "a checkpoint"}, on the pictures at their own size']
    if windows:
        lines.append(WINDOWS)
    if [_said(about.resize)] != [_of_step(step) for step in theirs or [None]]:
        config = ', '.join(_of_step(step) for step in theirs) or 'none'
        lines.append(f"resize: the file's, {_said(about.resize)}, in place of the config's, {config}")
    return lines


def _said(resize: Resize | None) -> str:
    if resize is None:
        return 'none'
    return f'{" x ".join(f"{side:g}" for side in resize.scale)}{" at most" if resize.keep_ratio else ""}'


def _of_step(step: Any) -> str:
    """A step of the pipeline in the same words; what is no resize to a scale in its own."""
    if step is None or (step.get('scale') is None and step.get('scale_factor') in (1, [1, 1], (1, 1))):
        return 'none'
    scale = step.get('scale')
    scale = (scale, scale) if isinstance(scale, int) else scale
    if name_of(step) != 'Resize' or not isinstance(scale, (list, tuple)):
        return str(dict(step))
    return _said(Resize((scale[0], scale[1]), bool(step.get('keep_ratio', False))))
