"""What a graph does with a picture before the model: the pipeline's resize, to the bit, and the preprocessor's normalising."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmseg.models.data_preprocessor import SegDataPreProcessor
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.predict.steps import loads_annotations, name_of

LEAST, MOST = 64, 16_384  # sides that the exporter reasons about; graphs take smaller ones, too
BITS = 2048  # of cv2's fixed-point weights
PLAIN = dict(interpolation='bilinear', backend='cv2', clip_object_border=True, scale_factor=None)  # of mmcv's Resize
OTHERWISE = 'resize and normalise before the file, with --raw'


class Given(NamedTuple):
    """A picture as the model takes it."""

    x: Tensor  # (B, C, h, w), normalised
    own: tuple[Any, Any]  # (H, W) of the picture; symbols where the graph takes any size


class PictureInput(nn.Module):
    """Bytes (B, H, W, 3) in RGB -> Given; with `raw`, (B, C, h, w) that are resized and normalised already.

    Args:
        preprocessor: mmseg's or mmdet's, of three channels.
        resize: as `pipeline_resize` gives it.
        raw: take what the model takes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: Any, resize: Mapping[str, Any] | None = None, raw: bool = False) -> None:
        super().__init__()
        self.raw, self.scaled = raw, None if raw or resize is None else Resize(**resize)
        colour, mean, std = normalisation(preprocessor)
        self.flip = colour == 'BGR'
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))

    def forward(self, image: Tensor) -> Given:
        """See the class."""
        if self.raw:
            return Given(image, (image.shape[2], image.shape[3]))
        own = image.shape[1], image.shape[2]
        if self.scaled is not None:
            image = self.scaled(image)
        x = image.permute(0, 3, 1, 2).float()
        return Given(((x.flip(1) if self.flip else x) - self.mean) / self.std, own)


class Resize(nn.Module):
    """mmcv's Resize by cv2: the new size in floats of 64 bits, the bytes in cv2's fixed-point arithmetic.

    cv2 takes weights of 11 bits, columns first, and cuts off four and then sixteen bits of the sums. Bit-equal to cv2 on x86;
    elsewhere a byte may differ by one.
    """

    def __init__(self, scale: tuple[int, int], keep_ratio: bool) -> None:
        super().__init__()
        self.scale, self.keep_ratio = tuple(scale), keep_ratio

    def forward(self, image: Tensor) -> Tensor:
        """(B, H, W, 3) of bytes -> (B, h, w, 3) of bytes."""
        height, width = image.shape[1], image.shape[2]
        rows, columns = self.size(height, width)
        left, right, some, rest = weights(width, columns, clipped=True)
        x = image.to(torch.int32)
        x = x[:, :, left] * some[:, None] + x[:, :, right] * rest[:, None]
        top, bottom, some, rest = weights(height, rows, clipped=False)
        x = x.div(16, rounding_mode='trunc')
        above, below = x[:, top] * some[:, None, None], x[:, bottom] * rest[:, None, None]
        total = above.div(1 << 16, rounding_mode='trunc') + below.div(1 << 16, rounding_mode='trunc') + 2
        return total.div(4, rounding_mode='trunc').clamp(0, 255).to(torch.uint8)

    def size(self, height: Any, width: Any) -> tuple[Any, Any]:
        """(h, w) of a picture of (H, W), by mmcv.imrescale: numbers for numbers, symbols for symbols."""
        if not self.keep_ratio:
            return self.scale[1], self.scale[0]
        if isinstance(height, int) and isinstance(width, int):
            factor = min(max(self.scale) / max(height, width), min(self.scale) / min(height, width))
            return int(height * factor + 0.5), int(width * factor + 0.5)
        sides = [torch.full((1,), side, dtype=torch.float64) for side in (height, width)]
        long, short = torch.maximum(*sides), torch.minimum(*sides)
        ratio = torch.minimum(max(self.scale) / long, min(self.scale) / short)
        new = [(side * ratio + 0.5).long()[0] for side in sides]
        if torch.jit.is_tracing():  # whose sizes are tensors
            return new[0], new[1]
        return bounded(new[0].item(), max(self.scale)), bounded(new[1].item(), max(self.scale))


def bounded(side: Any, most: int) -> Any:
    """A side that follows from the picture, with what the exporter may reckon on."""
    torch._check(side >= LEAST)
    torch._check(side <= max(most, LEAST))
    return side


def weights(size: Any, new: Any, clipped: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of an axis of `new` places: the two places of the axis of `size` that each is between, and their weights in 1 / BITS.

    At the ends cv2 takes the outer place for both, with weights of BITS and 0 where `clipped`, else as they are.
    """
    ends = [torch.full((1,), side, dtype=torch.float64) for side in (size, new)]
    place = (torch.arange(new, dtype=torch.float64) + 0.5) * (1.0 / (ends[1] / ends[0])) - 0.5
    place = place.float()
    first = place.floor()
    part, first = place - first, first.long()
    last = ends[0].long() - 1
    if clipped:
        part = torch.where((first < 0) | (first >= last), 0.0, part)
    rest, some = (part * BITS).round().int(), ((1.0 - part) * BITS).round().int()
    zero = torch.zeros_like(last)
    before, after = (torch.minimum(torch.maximum(at, zero), last) for at in (first, first + 1))
    return before, after, some, rest


def normalisation(preprocessor: Any) -> tuple[str, list[float], list[float]]:
    """The order of a preprocessor's channels, RGB or BGR, and their mean and standard deviation in that order.

    Raises:
        InputError: for a preprocessor of another class, or one that pads in its own way.
    """
    # Loaders give BGR; what swaps it gives RGB.
    if type(preprocessor) is SegDataPreProcessor:
        swapped = preprocessor.channel_conversion
        if preprocessor.test_cfg is not None:
            raise InputError(
                'export: expected pictures that are predicted at their own size, got data_preprocessor.test_cfg='
                f'{dict(preprocessor.test_cfg)}, which pads them; leave it out'
            )
    elif type(preprocessor) is DetDataPreprocessor:
        swapped = preprocessor._channel_conversion
    else:
        raise InputError(
            'export: expected SegDataPreProcessor or DetDataPreprocessor, of pictures of bytes, '
            f'got {type(preprocessor).__name__}'
        )
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if mean is None or std is None:
        return 'RGB' if swapped else 'BGR', [0.0] * 3, [1.0] * 3
    return 'RGB' if swapped else 'BGR', mean.flatten().tolist(), std.flatten().tolist()


def pipeline_resize(pipeline: Any) -> dict[str, Any] | None:
    """What a test pipeline does with a picture between loading and packing: None, or its resize by `scale` and `keep_ratio`.

    Raises:
        InputError: for steps that a graph does not do.
    """
    steps = [step for step in (pipeline or [])[1:] if not loads_annotations(step) and not name_of(step).startswith('Pack')]
    loads = name_of(pipeline[0]) if pipeline else ''
    if loads != 'LoadImageFromFile':
        raise InputError(f'export: expected a pipeline that begins with LoadImageFromFile, got {loads or "none"}; {OTHERWISE}')
    if not steps:
        return None
    options = {key: value for key, value in steps[0].items() if key != 'type'}
    scale, keep_ratio = options.pop('scale', None), options.pop('keep_ratio', False)
    if isinstance(scale, int):
        scale = (scale, scale)
    plain = all(PLAIN.get(key, ...) == value for key, value in options.items())
    if len(steps) > 1 or name_of(steps[0]) != 'Resize' or not isinstance(scale, (tuple, list)) or not plain:
        raise InputError(f'export: expected a pipeline with one bilinear Resize by its scale, got {brief(steps)}; {OTHERWISE}')
    return dict(scale=[int(side) for side in scale], keep_ratio=bool(keep_ratio))
