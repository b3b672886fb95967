"""A trained model in PyTorch that answers: on one picture, or on a stream of them in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmseg.models.segmentors import BaseSegmentor
from numpy.typing import NDArray
from torch import nn

from convnext_dense.data.bands import checked_bands, displayed
from convnext_dense.data.channel_steps import LoadChannels
from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import InputError, last_line
from convnext_dense.expect import brief
from convnext_dense.predict.inputs import Item
from convnext_dense.predict.least_score import least_score
from convnext_dense.predict.predictor import PRECISIONS, Predictor, Prepared
from convnext_dense.predict.result import Result, index_type
from convnext_dense.predict.steps import build_pipeline
from convnext_dense.predict.tiler import Tiler
from convnext_dense.predict.tiles import Tiling
from convnext_dense.predict.windows import InMemory, Windowed


class Options(NamedTuple):
    """How a model is run: see `load_model`."""

    device: torch.device
    precision: str
    batch_size: int
    score: float
    chosen: tuple[int, ...] | None  # class indices
    tiling: Tiling | None = None
    only_large: bool = False  # tiles for pictures of more than twice their side alone
    bands: Sequence[int] | None = None  # that are drawn


class Model(Predictor):
    """A trained model that is called on pictures. `model` is the torch module, in eval mode."""

    def __init__(self, model: nn.Module, cfg: Config, classes: tuple[str, ...], palette: Any, options: Options) -> None:
        is_segmentor = isinstance(getattr(model, 'module', model), BaseSegmentor)  # out of test-time augmentation
        super().__init__(classes, palette, is_segmentor, options.batch_size, options.score, options.chosen)
        if options.precision not in PRECISIONS:
            raise InputError(f'precision: expected one of {", ".join(PRECISIONS)}, got {brief(options.precision)}')
        self.model, self.cfg, self.options = model.to(options.device), cfg, options
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            self._load, self._rest = build_pipeline(cfg.test_dataloader.dataset.get('pipeline'))
        self.channels = self._load.channels if isinstance(self._load, LoadChannels) else None
        if self.channels is None and options.bands is not None:
            raise InputError('bands: expected a model of other than three channels of bytes, got one of them; leave it out')
        self.bands = () if self.channels is None else checked_bands(options.bands, self.channels)
        self.tiler: Tiler | None = None
        if options.tiling is not None:
            self.tiler = Tiler(model, self._rest, options.tiling, options.batch_size, options.score, self._autocast)

    def prepare(self, item: Item) -> Prepared:
        """See Predictor."""
        try:
            loaded = self._loaded(item)
            bgr = self._looks(loaded['img'])
        except UnreadableError as error:
            return Prepared(item, np.empty((0, 0, 3), np.uint8), None, str(error))
        if self._in_tiles(bgr.shape[:2]):
            return Prepared(item, bgr, None, tiled=True, image=bgr if self.channels is None else loaded['img'])
        try:
            data = self._rest(loaded)
        except Exception as error:  # of any step
            height, width = bgr.shape[:2]
            why = f'has {width}x{height} pixels, which the pipeline cannot bring to the model ({last_line(error)})'
            return Prepared(item, bgr, None, why)
        return Prepared(item, bgr, data)

    def _looks(self, image: NDArray) -> NDArray[np.uint8]:
        """What of a loaded picture is drawn: (H, W, 3) in BGR."""
        if self.channels is None:
            return as_bytes(image)
        return np.ascontiguousarray(displayed(image, self.bands)[..., ::-1])

    def _in_tiles(self, size: tuple[int, ...]) -> bool:
        options = self.options
        return options.tiling is not None and (not options.only_large or max(size) > 2 * options.tiling.side)

    def rows(self, picture: Windowed) -> Iterator[NDArray[Any]]:
        """See Predictor."""
        assert self.tiler is not None and self.is_segmentor
        for rows in self.tiler.segment(picture):
            yield self._kept(rows)

    def _autocast(self) -> AbstractContextManager[Any]:
        bf16 = self.options.precision == 'bfloat16'
        return torch.autocast(self.options.device.type, dtype=torch.bfloat16) if bf16 else nullcontext()

    def _loaded(self, item: Item) -> dict[str, Any]:
        found: dict[str, Any] = dict(img_id=0, img_path=item.source, ori_shape=None, img_shape=None)
        if isinstance(item.given, UnreadableError):
            raise item.given
        if isinstance(item.given, np.ndarray):
            shape = item.given.shape[:2]
            return found | dict(img=item.given, ori_shape=shape, img_shape=shape, height=shape[0], width=shape[1])
        loaded = self._opened(item, lambda path: self._load(dict(img_id=0, img_path=path)))
        return found | loaded | dict(img_path=item.source)

    def _predicted(self, batch: Sequence[Prepared]) -> Sequence[Result | str]:
        try:
            if batch[0].tiled:
                return [self._tiled(one) for one in batch]
            data = pseudo_collate([one.data for one in batch])
            with torch.no_grad(), self._autocast(), least_score(self.model, self.score):
                samples = self.model.test_step(data)  # type: ignore[operator, union-attr]
        except InputError as error:
            return [f'is not taken by the model ({last_line(error)})' for _ in batch]
        return [self._result(one, sample) for one, sample in zip(batch, samples)]

    def _tiled(self, one: Prepared) -> Result:
        assert one.image is not None
        picture = InMemory(one.image)
        if self.is_segmentor:
            return Result(**self._common(one), mask=np.concatenate(list(self.rows(picture))))
        assert self.tiler is not None
        found = self.tiler.detect(picture)
        keep = np.flatnonzero(self._wanted(found.scores, found.labels))
        patches = None if found.patches is None else [found.patches[i] for i in keep]
        arrays: dict[str, Any] = dict(boxes=found.boxes[keep], scores=found.scores[keep], labels=found.labels[keep])
        return Result(**self._common(one), **arrays, mask_data=patches)

    def _result(self, one: Prepared, sample: Any) -> Result:
        if self.is_segmentor:
            mask = sample.pred_sem_seg.data[0].cpu().numpy().astype(index_type(len(self.classes)))
            return Result(**self._common(one), mask=self._kept(mask))
        found = sample.pred_instances
        scores, labels = found.scores.float().cpu().numpy(), found.labels.cpu().numpy()
        keep = self._wanted(scores, labels)
        masks = found.masks[torch.from_numpy(keep).to(found.masks.device)].cpu().numpy() if 'masks' in found else None
        boxes = found.bboxes.float().cpu().numpy()[keep]
        return Result(**self._common(one), boxes=boxes, scores=scores[keep], labels=labels[keep], mask_data=masks)

    def _shape(self, one: Prepared) -> Any:
        if one.tiled:
            return one.bgr.shape
        inputs = one.data['inputs'] if one.data else None
        return tuple(inputs.shape) if isinstance(inputs, torch.Tensor) else [tuple(view.shape) for view in inputs or ()]

    def _where(self) -> str:
        return f'on {self.options.device}'


def as_bytes(image: NDArray) -> NDArray[np.uint8]:
    """A loaded picture for drawing: three channels of bytes."""
    image = image if image.ndim == 3 else image[..., None]
    image = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    return image if image.dtype == np.uint8 else image.clip(0, 255).astype(np.uint8)
