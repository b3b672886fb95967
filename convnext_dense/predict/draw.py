"""A prediction drawn over its picture, through torchvision's drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.utils import draw_bounding_boxes

from convnext_dense.predict.patch import Patch

OPACITY = 0.5  # of classes and masks over the picture
FONT = f'{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf'  # with letters of most alphabets
LINE, TEXT = 300, 50  # of these parts of the longer side: lines' width and letters' height


class Drawable(Protocol):
    """What is drawn of a result."""

    @property
    def image(self) -> NDArray[np.uint8]: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def names(self) -> list[str]: ...
    @property
    def palette(self) -> Sequence[tuple[int, int, int]]: ...
    @property
    def mask(self) -> NDArray[Any] | None: ...
    @property
    def boxes(self) -> NDArray[np.float32] | None: ...
    @property
    def scores(self) -> NDArray[np.float32] | None: ...
    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def mask_data(self) -> Any: ...
    def patch(self, index: int) -> Patch: ...


def drawn(result: Drawable) -> NDArray[np.uint8]:
    """(H, W, 3) in RGB: the classes' colours over the picture; or masks, boxes and names with scores."""
    rgb = np.array(result.image, order='C')  # a copy, to draw on
    if result.mask is not None:
        return coloured(rgb, result.mask, result.palette)
    assert result.boxes is not None and result.labels is not None and result.scores is not None
    if not len(result.labels):
        return rgb
    colours = [result.palette[label] for label in result.labels]
    if result.mask_data is not None:
        for i in reversed(range(len(colours))):  # the highest score on top
            top, left, mask = result.patch(i).within(0, 0, *result.size)
            area = rgb[top : top + mask.shape[0], left : left + mask.shape[1]]
            area[mask] = ((1 - OPACITY) * area[mask] + OPACITY * np.array(colours[i])).astype(np.uint8)
    longer = max(result.size)
    boxes = torch.from_numpy(result.boxes).clamp(min=0)
    boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2])  # an empty one, which torchvision refuses
    words = [f'{name} {score:.2f}' for name, score in zip(result.names, result.scores)]
    image = draw_bounding_boxes(
        torch.from_numpy(rgb).permute(2, 0, 1),
        boxes,
        words,
        colours,
        width=max(longer // LINE, 1),
        font=FONT,
        font_size=max(longer // TEXT, 10),
        label_colors=[_readable_on(colour) for colour in colours],
        label_background_colors=colours,
        fill_labels=True,
    )
    return image.permute(1, 2, 0).contiguous().numpy()


def _readable_on(colour: tuple[int, int, int]) -> str:
    """Black or white, by the colour's luminance."""
    return 'black' if np.dot(colour, (0.299, 0.587, 0.114)) > 140 else 'white'


def coloured(rgb: NDArray[np.uint8], mask: NDArray, palette: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Each class's colour over the picture; pixels without a class as they are."""
    colours = np.zeros((np.iinfo(mask.dtype).max + 1, 3), np.uint8)
    colours[: len(palette)] = palette
    blend: NDArray[np.uint8] = cv2.addWeighted(rgb, 1 - OPACITY, colours[mask], OPACITY, 0)
    none = mask >= len(palette)
    if none.any():
        blend[none] = rgb[none]
    return blend
