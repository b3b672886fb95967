"""EncoderDecoder whose predictions need little memory: windows in batches, and classes chosen a few rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.expect import brief, expect_flag, whole
from convnext_dense.kernels.strips import Cropped, Resized, RisingRows, Rows, WholeMap, strips
from convnext_dense.text import suggest

TEST_CFG = ('mode', 'crop_size', 'stride', 'keep_logits', 'keep_confidence', 'batch_size')


@MODELS.register_module()
class LeanEncoderDecoder(EncoderDecoder):
    """A drop-in for mmseg's EncoderDecoder: same arguments, weights and predicted classes.

    Three entries of `test_cfg` are its own: `keep_logits` (default True, as in mmseg; False leaves `seg_logits` out of the
    results and never makes the full-size maps), `keep_confidence` (default False; without logits, also `confidence`, (1, H, W),
    the softmax probability of the chosen class), and `batch_size`, windows of a row that are computed together (default 1).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.test_cfg: ConfigDict = checked_test_cfg(self.test_cfg)

    def predict(self, inputs: Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Images (B, 3, H, W) to data samples with `pred_sem_seg`, (1, H, W) classes of the original size."""
        flipped = any(sample.metainfo.get('flip') for sample in data_samples or ())
        if self.test_cfg.get('keep_logits', True) or self.out_channels == 1 or flipped:
            return super().predict(inputs, data_samples)
        samples = data_samples or [SegDataSample() for _ in inputs]
        for i, sample in enumerate(samples):
            rows = self._logits(inputs[i : i + 1], sample.metainfo)
            if data_samples is not None:
                rows = self._to_original(rows, sample.metainfo)
            confidence = inputs.new_empty(1, *rows.size) if self.test_cfg.get('keep_confidence', False) else None
            sample.set_data({'pred_sem_seg': PixelData(data=choose(rows, self.out_channels, inputs.device, confidence))})
            if confidence is not None:
                sample.set_data({'confidence': PixelData(data=confidence)})
        return samples

    def _logits(self, image: Tensor, meta: dict) -> Rows:
        """Rows of the logits (H, W, C) of an image (1, 3, H, W)."""
        height, width = image.shape[2:]
        if self.test_cfg.get('mode', 'whole') == 'slide':
            return Windows(self, image)
        if meta and 'pad_shape' not in meta:  # as predict_by_feat of mmseg's heads
            height, width = meta['img_shape'][:2]
        return Resized(WholeMap(self._low_logits(image)[0]), (height, width), self.align_corners)

    def _low_logits(self, images: Tensor) -> Tensor:
        """Logits (B, C, h, w), as the head gives them."""
        return self.decode_head(self.extract_feat(images))

    def _to_original(self, rows: Rows, meta: dict) -> Rows:
        """Padding cut off, and of the photograph's own size, as mmseg's `postprocess_result` does it."""
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        size = rows.size[0] - top - bottom, rows.size[1] - left - right
        if size != rows.size:
            rows = Cropped(rows, size, top, left)
        height, width = meta['ori_shape'][:2]
        return Resized(rows, (height, width), self.align_corners)


def checked_test_cfg(given: Any) -> ConfigDict:
    """`test_cfg` as mmseg takes it, with this class's own entries.

    Raises:
        InputError: for an unknown entry or mode, and for windows that leave gaps or are no windows.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise InputError(f"test_cfg: expected a dict, as dict(mode='whole'), got {brief(given)}")
    for key in given:
        if key not in TEST_CFG:
            raise InputError(f'test_cfg: unknown entry {key!r}; {suggest(str(key), TEST_CFG)}')
    mode = given.get('mode', 'whole')
    if mode not in ('slide', 'whole'):
        raise InputError(f"test_cfg.mode: expected 'slide' or 'whole', got {brief(mode)}")
    expect_flag('test_cfg.keep_logits', given.get('keep_logits', True))
    expect_flag('test_cfg.keep_confidence', given.get('keep_confidence', False))
    if not whole(given.get('batch_size', 1), 1):
        raise InputError(f'test_cfg.batch_size: expected 1 or more windows, got {brief(given["batch_size"])}')
    if mode == 'slide':
        for key in ('crop_size', 'stride'):
            pair = given.get(key)
            if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(whole(side, 1) for side in pair):
                raise InputError(f'test_cfg.{key}: expected (height, width) in pixels for mode slide, got {brief(pair)}')
        if any(step > crop for step, crop in zip(given['stride'], given['crop_size'])):
            raise InputError(
                f'test_cfg.stride: expected at most crop_size={given["crop_size"]}, since pixels between windows would have no '
                f'class; got {given["stride"]}'
            )
    return ConfigDict({'mode': mode, **given})


def choose(rows: Rows, channels: int, device: torch.device, confidence: Tensor | None = None) -> Tensor:
    """The class of the highest logit at each pixel, (1, H, W); into `confidence`, of that shape, goes its probability."""
    out = torch.empty(1, *rows.size, dtype=torch.long, device=device)
    for start, stop in strips(rows.size, channels):
        logits = rows.rows(start, stop)
        torch.argmax(logits, dim=2, out=out[0, start:stop])
        if confidence is not None:  # the chosen class's: exp(highest - logsumexp)
            confidence[0, start:stop] = (logits.amax(2) - logits.logsumexp(2)).exp()
    return out


class Windows(RisingRows):
    """The mean of overlapping windows' logits as a source of rows, a row of windows at a time."""

    def __init__(self, model: LeanEncoderDecoder, image: Tensor) -> None:
        cfg = model.test_cfg
        size = image.shape[2], image.shape[3]
        super().__init__(size, image.new_zeros(0, size[1], model.out_channels, dtype=torch.float32))
        self.model, self.image = model, image
        self.batch = cfg.get('batch_size', 1)
        self.window = min(cfg.crop_size[0], size[0]), min(cfg.crop_size[1], size[1])
        self.tops, self.lefts = (places(*axis) for axis in zip(size, cfg.crop_size, cfg.stride))
        self.next_row = 0  # of windows, an index of `tops`

    def _more(self) -> None:
        """A row of windows."""
        top, (height, width) = self.tops[self.next_row], self.window
        into = self._lengthened(top, height)
        for i in range(0, len(self.lefts), self.batch):
            lefts = self.lefts[i : i + self.batch]
            crops = torch.cat([self.image[:, :, top : top + height, left : left + width] for left in lefts])
            for left, low in zip(lefts, self.model._low_logits(crops)):
                window = Resized(WholeMap(low), self.window, self.model.align_corners)
                for start, stop in strips(self.window, into.shape[2]):
                    into[start:stop, left : left + width] += window.rows(start, stop)
        self.next_row += 1
        end = self.tops[self.next_row] if self.next_row < len(self.tops) else self.size[0]
        sums = self.kept[self.finished - self.kept_from : end - self.kept_from]
        down, across = self._times(self.tops, height, self.finished, end), self._times(self.lefts, width, 0, self.size[1])
        sums /= (down[:, None] * across)[..., None]
        self.finished = end

    def _times(self, places: Sequence[int], length: int, start: int, stop: int) -> Tensor:
        """How many windows of a row or column of them cover each of the pixels."""
        at = torch.arange(start, stop, device=self.kept.device)[:, None]
        starts = torch.tensor(places, device=at.device)
        return ((starts <= at) & (at < starts + length)).sum(1).to(self.kept.dtype)


def places(side: int, crop: int, stride: int) -> list[int]:
    """Where windows begin along an axis; the last one ends with the image, as in mmseg's `slide_inference`."""
    count = max(side - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride + crop, side) - crop, 0) for i in range(count)]
