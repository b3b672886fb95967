"""A trained model that answers: on one picture, or on a stream of them in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
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
from convnext_dense.expect import brief, expect_number, expect_whole
from convnext_dense.predict.ahead import ahead
from convnext_dense.predict.inputs import Item, as_channels, check_readable, downloaded, is_one, is_url, items
from convnext_dense.predict.least_score import least_score
from convnext_dense.predict.result import Result, index_type, nothing_of
from convnext_dense.predict.steps import build_pipeline
from convnext_dense.predict.tiler import Tiler
from convnext_dense.predict.tiles import Tiling
from convnext_dense.predict.windows import InMemory, Windowed

PRECISIONS = ('float32', 'bfloat16')
Skip = Callable[[Item, str], None]


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


class Prepared(NamedTuple):
    """A picture as the model takes it, or why it cannot be read."""

    item: Item
    bgr: NDArray[np.uint8]
    data: dict[str, Any] | None
    why: str = ''
    tiled: bool = False
    image: NDArray | None = None  # what tiles are cut from


class Model:
    """A trained model that is called on pictures. `model` is the torch module, in eval mode."""

    def __init__(self, model: nn.Module, cfg: Config, classes: tuple[str, ...], palette: Any, options: Options) -> None:
        expect_whole('batch_size', options.batch_size, 1)
        expect_number('score', options.score, 0)
        if options.score > 1:
            raise InputError(f'score: expected a number from 0 to 1, got {options.score:g}')
        if options.precision not in PRECISIONS:
            raise InputError(f'precision: expected one of {", ".join(PRECISIONS)}, got {brief(options.precision)}')
        self.model, self.cfg, self.options = model.to(options.device), cfg, options
        self.classes, self.palette = classes, palette
        self.is_segmentor = isinstance(getattr(model, 'module', model), BaseSegmentor)  # out of test-time augmentation
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            self._load, self._rest = build_pipeline(cfg.test_dataloader.dataset.get('pipeline'))
        self.channels = self._load.channels if isinstance(self._load, LoadChannels) else None  # None: three of bytes
        if self.channels is None and options.bands is not None:
            raise InputError('bands: expected a model of other than three channels of bytes, got one of them; leave it out')
        self.bands = () if self.channels is None else checked_bands(options.bands, self.channels)
        self.tiler: Tiler | None = None
        if options.tiling is not None:
            self.tiler = Tiler(model, self._rest, options.tiling, options.batch_size, options.score, self._autocast)

    def __repr__(self) -> str:
        what = 'segmentor' if self.is_segmentor else 'detector'
        return f'{type(self).__name__}({what} of {len(self.classes)} classes on {self.options.device})'

    def __call__(self, inputs: Any) -> Any:
        """A Result for one picture; a list of them for a list; an iterator for a folder, a pattern, a video and an iterator.

        See `as_bgr` and `as_channels` in `convnext_dense.predict.inputs` for pictures in memory.

        Raises:
            InputError: for what cannot be read; of an iterator, when it comes to it.
        """
        if is_one(inputs):
            return next(self.stream(inputs))
        found = self.stream(inputs)
        return list(found) if isinstance(inputs, (list, tuple)) else found

    def stream(self, inputs: Any, skip: Skip | None = None, recursive: bool = False, every: int = 1) -> Iterator[Result]:
        """Results in order, in constant memory. `skip` is told of what cannot be read, and why; without it that is an error.

        Pictures are read and prepared in threads beside the model. `recursive` looks into folders' folders; of a video each
        `every`-th frame is taken.
        """
        expect_whole('every', every, 1)
        source = self.items(inputs, recursive, every)
        return self._results(ahead(source, self.prepare, depth=2 * self.options.batch_size + 2), skip)

    def items(self, inputs: Any, recursive: bool = False, every: int = 1) -> Iterator[Item]:
        """The pictures in what is given, those in memory as this model takes them."""
        convert = None if self.channels is None else partial(as_channels, channels=self.channels)
        return items(inputs, recursive, every, convert)

    def _results(self, prepared: Iterable[Prepared], skip: Skip | None) -> Iterator[Result]:
        for batch in _batches(prepared, self.options.batch_size):
            found: Sequence[Result | str] = [batch[0].why] if batch[0].why else self._predicted(batch)
            for one, result in zip(batch, found, strict=True):
                if isinstance(result, Result):
                    yield result
                elif skip is None:
                    raise InputError(f'{one.item.source}: {result}')
                else:
                    skip(one.item, result)

    def prepare(self, item: Item) -> Prepared:
        """Read a picture and bring it to the model's input, as in testing."""
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
        """Of a segmentor with tiles: class indices of a picture of any size, some rows (h, W) at a time."""
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
        remote = is_url(item.given)
        path = downloaded(item.given) if remote else item.given
        try:
            if self.channels is None:
                check_readable(path)
            return found | self._load(dict(img_id=0, img_path=path)) | dict(img_path=item.source)
        except UnreadableError as error:
            raise UnreadableError(str(error).replace(path, item.source)) from error
        except InputError as error:  # of LoadChannels, which names the path
            raise UnreadableError(str(error).removeprefix(path).lstrip(': ')) from error
        except Exception as error:  # of the loading step
            raise UnreadableError(f'cannot be read ({last_line(error)})') from error
        finally:
            if remote:
                os.unlink(path)

    def _predicted(self, batch: Sequence[Prepared]) -> Sequence[Result | str]:
        """A result for each; or for each why the model refused."""
        try:
            if batch[0].tiled:
                return [self._tiled(one) for one in batch]
            data = pseudo_collate([one.data for one in batch])
            with torch.no_grad(), self._autocast(), least_score(self.model, self.options.score):
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
        keep = np.arange(len(found.scores))
        if self.options.chosen is not None:
            keep = np.flatnonzero(np.isin(found.labels, self.options.chosen))
        patches = None if found.patches is None else [found.patches[i] for i in keep]
        arrays: dict[str, Any] = dict(boxes=found.boxes[keep], scores=found.scores[keep], labels=found.labels[keep])
        return Result(**self._common(one), **arrays, mask_data=patches)

    def _common(self, one: Prepared) -> dict[str, Any]:
        item = one.item
        shared = dict(classes=self.classes, palette=self.palette)
        return dict(name=item.name, source=item.source, file=item.file, bgr=one.bgr) | shared

    def _result(self, one: Prepared, sample: Any) -> Result:
        if self.is_segmentor:
            mask = sample.pred_sem_seg.data[0].cpu().numpy().astype(index_type(len(self.classes)))
            return Result(**self._common(one), mask=self._kept(mask))
        found = sample.pred_instances
        scores, labels = found.scores.float().cpu().numpy(), found.labels.cpu().numpy()
        keep = scores >= self.options.score
        if self.options.chosen is not None:
            keep &= np.isin(labels, self.options.chosen)
        masks = found.masks[torch.from_numpy(keep).to(found.masks.device)].cpu().numpy() if 'masks' in found else None
        boxes = found.bboxes.float().cpu().numpy()[keep]
        return Result(**self._common(one), boxes=boxes, scores=scores[keep], labels=labels[keep], mask_data=masks)

    def _kept(self, mask: NDArray) -> NDArray:
        """Of a segmentor: other classes than the chosen ones away."""
        if self.options.chosen is not None:
            mask[~np.isin(mask, self.options.chosen)] = nothing_of(len(self.classes))
        return mask


def as_bytes(image: NDArray) -> NDArray[np.uint8]:
    """A loaded picture for drawing: three channels of bytes."""
    image = image if image.ndim == 3 else image[..., None]
    image = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    return image if image.dtype == np.uint8 else image.clip(0, 255).astype(np.uint8)


def _batches(prepared: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    """Up to `size` readable pictures, one after the other, that are equally large for the model; the others alone."""
    batch: list[Prepared] = []
    for one in prepared:
        if batch and (one.why or _shape(one) != _shape(batch[0])):
            yield batch
            batch = []
        batch.append(one)
        if one.why or len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _shape(one: Prepared) -> Any:
    if one.tiled:
        return one.bgr.shape
    inputs = one.data['inputs'] if one.data else None
    return tuple(inputs.shape) if isinstance(inputs, torch.Tensor) else [tuple(view.shape) for view in inputs or ()]
