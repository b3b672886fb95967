"""What a model says about one picture: arrays, and the forms that other programs read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as run_lengths

from convnext_dense.errors import InputError
from convnext_dense.files import partial_file
from convnext_dense.predict.draw import drawn
from convnext_dense.predict.patch import Patch

NOTHING = 255  # in class maps: no class; of more than 255 classes, 65535
CLASS_COLUMNS = ['source', 'class', 'pixels', 'share']
OBJECT_COLUMNS = ['source', 'class', 'score', 'left', 'top', 'right', 'bottom', 'area']
WRITTEN = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


def index_type(classes: int) -> type[np.uint8] | type[np.uint16]:
    """Of the values of a class map with so many classes; its largest value is left for no class."""
    return np.uint8 if classes <= NOTHING else np.uint16


def nothing_of(classes: int) -> int:
    """The value of no class in a class map with so many classes."""
    return int(np.iinfo(index_type(classes)).max)


@dataclass(frozen=True)
class Result:
    """The prediction for one picture (H, W).

    Of a segmentor: `mask` (H, W) of class indices. Of a detector, N objects from the highest score down: `boxes` (N, 4) as
    left, top, right, bottom in pixels, `scores` (N,), `labels` (N,) of class indices, and `masks` (N, H, W) of bool where the
    model makes masks. What the model does not make is None.
    """

    name: str  # outputs are named after it
    source: str  # a path, a URL, or which frame
    file: str = field(repr=False)  # the picture's path below what was given
    bgr: NDArray[np.uint8] = field(repr=False)  # (H, W, 3), as it was predicted on; of other channels, what is drawn of them
    classes: tuple[str, ...] = field(repr=False)
    palette: tuple[tuple[int, int, int], ...] = field(repr=False)
    mask: NDArray[Any] | None = field(default=None, repr=False)
    boxes: NDArray[np.float32] | None = field(default=None, repr=False)
    scores: NDArray[np.float32] | None = field(default=None, repr=False)
    labels: NDArray[np.int64] | None = field(default=None, repr=False)
    mask_data: NDArray[np.bool_] | Sequence[Patch] | None = field(default=None, repr=False)

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """(N, H, W)."""
        if self.mask_data is None or isinstance(self.mask_data, np.ndarray):
            return self.mask_data
        return (
            np.stack([patch.on(self.size) for patch in self.mask_data])
            if len(self.mask_data)
            else np.zeros((0, *self.size), bool)
        )

    def patch(self, index: int) -> Patch:
        """An object's mask: `masks[index]` where that is there, else only the part of the picture that it covers."""
        assert self.mask_data is not None
        found = self.mask_data[index]
        return found if isinstance(found, Patch) else Patch(0, 0, found)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.bgr.shape[0], self.bgr.shape[1]

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) in RGB."""
        return self.bgr[..., ::-1]

    @property
    def names(self) -> list[str]:
        """The class of each object; of a segmentor, the classes in the picture."""
        return [self.classes[label] for label in (self.labels if self.labels is not None else self.pixels)]

    @cached_property
    def pixels(self) -> dict[int, int]:
        """Pixels by class index, of a segmentor."""
        if self.mask is None:
            return {}
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes))[: len(self.classes)]
        return {int(label): int(counts[label]) for label in counts.nonzero()[0]}

    def counts(self) -> dict[str, int]:
        """Pixels by class, of a segmentor; objects by class, of a detector."""
        if self.labels is None:
            return {self.classes[label]: count for label, count in self.pixels.items()}
        found, counts = np.unique(self.labels, return_counts=True)
        return {self.classes[label]: int(count) for label, count in zip(found, counts)}

    def picture(self) -> Image.Image:
        """The picture with the prediction drawn over it."""
        return Image.fromarray(drawn(self))

    def save(self, path: str | Path) -> None:
        """Write `picture()`, in one move; its format goes by the name's end."""
        path = Path(path)
        if path.suffix.lower() not in WRITTEN:
            raise InputError(f'save: expected a name that ends in {", ".join(WRITTEN)}, got {path}')
        picture = self.picture()
        registered = Image.registered_extensions()[path.suffix.lower()]
        with partial_file(path) as partial:
            picture.save(partial, format=registered)

    def class_map(self) -> NDArray[Any]:
        """(H, W) of class indices; of a detector, that of the object (its box, without masks) on top, or NOTHING."""
        if self.mask is not None:
            return self.mask
        assert self.labels is not None and self.boxes is not None
        count = len(self.classes)
        out = np.full(self.size, nothing_of(count), dtype=index_type(count))
        for i in reversed(range(len(self.labels))):  # the highest score last, on top
            if self.mask_data is not None:
                top, left, mask = self.patch(i).within(0, 0, *self.size)
                out[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = self.labels[i]
            else:
                left, top, right, bottom = self.boxes[i].round().astype(int)
                out[max(top, 0) : bottom, max(left, 0) : right] = self.labels[i]
        return out

    def to_coco(self, image_id: int = 1, first_id: int = 1) -> list[dict[str, Any]]:
        """COCO's annotations, with scores; category ids are class indices plus 1. Of a segmentor, one for each class."""
        found = []
        for i, label in enumerate(self.labels if self.labels is not None else self.pixels):
            row: dict[str, Any] = dict(id=first_id + i, image_id=image_id, category_id=int(label) + 1, iscrowd=0)
            if self.boxes is not None and self.scores is not None:
                sides = self.boxes[i, 2:] - self.boxes[i, :2]  # in the boxes' own precision, as the metric takes it
                row |= dict(bbox=[*self.boxes[i, :2].tolist(), *sides.tolist()], score=float(self.scores[i]))
                row['area'] = row['bbox'][2] * row['bbox'][3]
            if self.mask is not None or self.mask_data is not None:
                patch = Patch(0, 0, self.mask == label) if self.mask is not None else self.patch(i)
                encoded = patch.run_length(self.size)
                row['segmentation'] = dict(size=list(map(int, encoded['size'])), counts=encoded['counts'].decode())
                row['area'] = int(run_lengths.area(encoded))
                if 'bbox' not in row:
                    row['bbox'] = run_lengths.toBbox(encoded).tolist()
            found.append(row)
        return found

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values: masks as COCO's run lengths."""
        objects = [
            dict(name=self.classes[row['category_id'] - 1], label=row['category_id'] - 1)
            | {key: row[key] for key in ('score', 'bbox', 'area', 'segmentation') if key in row}
            for row in self.to_coco()
        ]
        return dict(source=self.source, height=self.size[0], width=self.size[1], objects=objects)

    def to_json(self) -> str:
        """`to_dict` as JSON; boxes are left, top, width, height."""
        return json.dumps(self.to_dict())

    def to_supervision(self) -> Any:
        """supervision's Detections, of a segmentor with a mask for each class."""
        try:
            import supervision
        except ImportError as error:
            raise InputError(f'to_supervision: expected supervision, which is not installed ({error})') from error
        labels = np.array(list(self.pixels) if self.labels is None else self.labels, dtype=int)
        masks: Any = self.masks
        if self.mask is not None:
            masks = np.stack([np.zeros(self.size, bool), *(self.mask == label for label in labels)])[1:]
        boxes = self.boxes
        if boxes is None:
            found = np.array([row['bbox'] for row in self.to_coco()], np.float32).reshape(-1, 4)
            boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
        names: dict[str, Any] = dict(class_name=np.array(self.names))
        return supervision.Detections(xyxy=boxes, mask=masks, confidence=self.scores, class_id=labels, data=names)

    def to_pandas(self) -> Any:
        """A DataFrame of `rows`."""
        try:
            import pandas
        except ImportError as error:
            raise InputError(f'to_pandas: expected pandas, which is not installed ({error})') from error
        return pandas.DataFrame(self.rows(), columns=CLASS_COLUMNS if self.labels is None else OBJECT_COLUMNS)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each object, with the area of its mask or box; of a segmentor, for each class in the picture."""
        values: list[tuple[Any, ...]]
        if self.labels is None or self.boxes is None or self.scores is None:
            total = self.size[0] * self.size[1]
            values = [(self.source, self.classes[label], n, n / total) for label, n in self.pixels.items()]
        else:
            areas: Any = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1)
            if self.mask_data is not None:
                areas = [self.patch(i).area for i in range(len(self.labels))]
            values = [
                (self.source, name, float(score), *map(float, box), float(area))
                for name, score, box, area in zip(self.names, self.scores, self.boxes, areas)
            ]
        return [dict(zip(CLASS_COLUMNS if self.labels is None else OBJECT_COLUMNS, row)) for row in values]
