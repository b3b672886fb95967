"""A model, a segmentor or a detector, that sees a picture in tiles: for tools/test.py and for predicting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from mmseg.models.segmentors import BaseSegmentor
from numpy.typing import NDArray
from torch import Tensor, nn

from convnext_dense.data.pipeline import RESIZES
from convnext_dense.errors import InputError, last_line
from convnext_dense.predict.least_score import least_score
from convnext_dense.predict.patch import patch_of
from convnext_dense.predict.steps import name_of, without_annotations
from convnext_dense.predict.tile_detector import Objects, detect
from convnext_dense.predict.tile_segmentor import TileMap, classes_by_rows, logits_of
from convnext_dense.predict.tiles import OVERLAP, Tiling, checked_tiling
from convnext_dense.predict.windows import InMemory, Windowed


class Tiler:
    """Runs a segmentor or a detector on the tiles of pictures.

    `rest` brings an image to a detector, as its test pipeline does after loading; a segmentor's tiles keep their size.
    Detections below `score` are left out before those of the tiles are merged.
    """

    def __init__(
        self,
        model: nn.Module,
        rest: Callable[[dict], dict],
        tiling: Tiling,
        batch: int = 1,
        score: float = 0.0,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.model: Any = model
        self.rest, self.tiling, self.batch, self.score, self.context = rest, tiling, batch, score, context
        self.logits = logits_of(model) if isinstance(model, BaseSegmentor) else None

    def _logits(self, windows: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> Tensor:
        assert self.logits is not None
        with self.context():
            return self.logits(windows, size)

    @torch.no_grad()
    def segment(self, picture: Windowed) -> Iterator[NDArray[Any]]:
        """Class indices, some rows (h, W) at a time, from the top down."""
        source = TileMap(self._logits, picture, self.tiling, self.batch)
        yield from classes_by_rows(source, picture.size)

    @torch.no_grad()
    def detect(self, picture: Windowed) -> Objects:
        return detect(self._find, picture, self.tiling)

    def _find(self, window: NDArray[np.uint8]) -> Objects:
        shape = window.shape[:2]
        given = dict(img=np.ascontiguousarray(window), img_id=0, img_path='', ori_shape=shape, img_shape=shape)
        try:
            data = self.rest(given)
        except Exception as error:  # of any step
            what = f'{shape[1]}x{shape[0]} pixels'
            raise InputError(f'tile: the pipeline cannot bring {what} to the model ({last_line(error)})') from error
        with self.context(), least_score(self.model, self.score):
            found = self.model.test_step(pseudo_collate([data]))[0].pred_instances
        found = found[found.scores >= self.score]
        masks = [patch_of(mask) for mask in found.masks.cpu().numpy()] if 'masks' in found else None
        boxes, scores = found.bboxes.float().cpu().numpy(), found.scores.float().cpu().numpy()
        return Objects(boxes, scores, found.labels.cpu().numpy(), masks)


@MODELS.register_module()
class TiledModel(BaseModel):
    """A model that is tested on pictures of their own size, in tiles.

    Args:
        module: the model.
        side, overlap: see `convnext_dense.predict.tiles.Tiling`.
        rest: steps that bring a tile to a detector.
    """

    def __init__(self, module: Any, side: int, overlap: float = OVERLAP, rest: Any = (), data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor)
        self.module: Any = module if isinstance(module, nn.Module) else MODELS.build(module)
        self.tiler: Tiler | None = None
        self.rest, self.tiling = Compose(list(rest)), checked_tiling(side, overlap)

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """Images (3, H, W) in BGR bytes, and their data samples, to data samples with predictions."""
        self.tiler = self.tiler or Tiler(self.module, self.rest, self.tiling)
        samples = []
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            picture = InMemory(image.permute(1, 2, 0).cpu().numpy())
            if self.tiler.logits is not None:
                mask = np.concatenate(list(self.tiler.segment(picture)))
                sample.pred_sem_seg = PixelData(data=torch.from_numpy(mask.astype(np.int64))[None])
            else:
                sample.pred_instances = instances(self.tiler.detect(picture), picture.size)
            samples.append(sample)
        return samples

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the model itself, without tiles."""
        return self.module(*args, **kwargs)


def instances(objects: Objects, size: tuple[int, int]) -> InstanceData:
    """Objects of a picture (H, W) as mmdet's metrics and drawings take them."""
    fields: dict[str, Tensor] = {key: torch.from_numpy(getattr(objects, key)) for key in ('scores', 'labels')}
    fields['bboxes'] = torch.from_numpy(objects.boxes)
    if objects.patches is not None:
        masks = np.zeros((len(objects), size[1], size[0]), bool)  # columns one after the other, as run lengths are counted
        for mask, patch in zip(masks, objects.patches):
            mask[:] = patch.on(size).T
        fields['masks'] = torch.from_numpy(masks).transpose(1, 2)
    return InstanceData(**fields)


def use_tiles(cfg: Config, tiling: Tiling) -> str:
    """Test `cfg.model` on pictures of their own size in tiles; a line for the log."""
    pipeline = cfg.test_dataloader.dataset.pipeline
    first = next((i for i, step in enumerate(pipeline) if name_of(step) in RESIZES), len(pipeline))
    rest = [without_annotations(step) for step in pipeline[first:] if not name_of(step).endswith('Annotations')]
    segmentor = 'decode_head' in cfg.model
    own_size = dict(type='Resize', scale_factor=1.0, keep_ratio=True)  # which says so where it is asked for
    cfg.test_dataloader.dataset.pipeline = [own_size if name_of(step) in RESIZES else step for step in pipeline]
    cfg.model = dict(
        type='mmengine.TiledModel', module=cfg.model, side=tiling.side, overlap=tiling.overlap, rest=[] if segmentor else rest
    )
    what = 'blended' if segmentor else 'merged with each other and the whole picture'
    return f'tiles of {tiling.side} pixels, {tiling.overlap:.0%} of them shared with the next, {what}'
