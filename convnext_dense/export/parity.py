"""Whether a file gives what the PyTorch model gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.segmentors import EncoderDecoder
from numpy.typing import NDArray

from convnext_dense.export.runtimes import Run

LOGITS, PIXELS = 1e-4, 0.9999  # largest difference relative to the largest logit; least share of equal pixels


@dataclass(frozen=True)
class Parity:
    """A picture's logits and classes by a file beside PyTorch's."""

    picture: str
    height: int
    width: int
    logits: float  # largest difference, relative to the largest logit
    pixels: float  # share of equal classes

    @property
    def within(self) -> bool:
        return self.logits <= LOGITS and self.pixels >= PIXELS

    def row(self) -> dict[str, Any]:
        return asdict(self)


def by_torch(model: EncoderDecoder, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Classes (B, H, W) and logits (B, classes, h, w) of pictures (B, H, W, 3) in RGB, by the model's own preprocessor."""
    bgr = torch.from_numpy(image[..., ::-1].copy()).permute(0, 3, 1, 2)
    with torch.no_grad():
        inputs = model.data_preprocessor(dict(inputs=list(bgr)))['inputs']
        inputs = torch.stack(inputs) if isinstance(inputs, list) else inputs
        logits = model.decode_head(model.extract_feat(inputs))
        large = F.interpolate(logits, image.shape[1:3], mode='bilinear', align_corners=model.align_corners)
    if model.out_channels == 1:
        return [(large[:, 0].sigmoid() > model.decode_head.threshold).numpy(), logits.numpy()]
    return [large.argmax(1).numpy(), logits.numpy()]


def compared(model: EncoderDecoder, run: Run, pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> list[Parity]:
    """A row for each picture (H, W, 3) in RGB."""
    rows = []
    for name, picture in pictures:
        (classes, logits), (got, values) = by_torch(model, picture[None]), run(picture[None])
        difference = np.abs(logits - values).max() if logits.shape == values.shape else np.inf
        equal = (classes == got).mean() if classes.shape == got.shape else 0.0
        scale = max(float(np.abs(logits).max()), 1e-6)
        share = float(difference) / scale if np.isfinite(difference) else float('inf')
        rows.append(Parity(name, picture.shape[0], picture.shape[1], share, float(equal)))
    return rows
