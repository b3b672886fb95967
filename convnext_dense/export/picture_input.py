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
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.predict.steps import loads_annotations, name_of

LEAST, MOST = 64, 16_384  # sides that the exporter reasons about; graphs take smaller ones, too
BITS = 2048  # of cv2's fixed-point weights
EXPONENTS = torch.tensor([2**e for e in range(1, 14)])
LATER_BITS = torch.tensor([2 ** (13 - e) for e in range(14)])  # of a fraction's 23 - e, those after the first 10
PLAIN = dict(interpolation='bilinear', backend='cv2', clip_object_border=True, scale_factor=None)  # of mmcv's Resize
LOADED = dict(to_float32=False, color_type='color', imdecode_backend='cv2', ignore_empty=False)
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
    """mmcv's Resize by cv2, to the byte on x86; elsewhere cv2 itself may differ by one.

    cv2 takes weights of 11 bits, columns first, and cuts off four and then sixteen bits of the sums. Here these are whole
    numbers below 2**24 in float32, and divisions of larger ones are corrected: OpenVINO computes both integers' divisions and
    float64 in float32.
    """

    def __init__(self, scale: tuple[int, int], keep_ratio: bool) -> None:
        super().__init__()
        self.scale, self.keep_ratio = tuple(scale), keep_ratio

    def forward(self, image: Tensor) -> Tensor:
        """(B, H, W, 3) of bytes -> (B, h, w, 3) of bytes."""
        height, width = image.shape[1], image.shape[2]
        rows, columns = self.size(height, width)
        left, right, some, rest = weights(width, columns, clipped=True)
        x = image.float()
        x = x[:, :, left] * some[:, None] + x[:, :, right] * rest[:, None]
        x = (x / 16).floor()
        top, bottom, some, rest = weights(height, rows, clipped=False)
        total = shifted(x[:, top], some[:, None, None]) + shifted(x[:, bottom], rest[:, None, None])
        return ((total + 2) / 4).floor().clamp(0, 255).to(torch.uint8)

    def size(self, height: Any, width: Any) -> tuple[Any, Any]:
        """(h, w) of a picture of (H, W), by mmcv.imrescale: numbers for numbers, symbols for symbols."""
        if not self.keep_ratio:
            return self.scale[1], self.scale[0]
        most, least = max(self.scale), min(self.scale)
        if isinstance(height, int) and isinstance(width, int):
            factor = min(most / max(height, width), least / min(height, width))
            return int(height * factor + 0.5), int(width * factor + 0.5)
        sides = [torch.full((1,), side, dtype=torch.long) for side in (height, width)]
        long, short = torch.maximum(*sides), torch.minimum(*sides)
        by_long = most * short <= least * long
        above, below = torch.where(by_long, most, least), torch.where(by_long, long, short)
        new = [rounded(side, above, below)[0] for side in sides]
        if torch.jit.is_tracing():  # whose sizes are tensors
            return new[0], new[1]
        return bounded(new[0].item(), most), bounded(new[1].item(), most)


def shifted(x: Tensor, weight: Tensor) -> Tensor:
    """floor(x * weight / 2**16) of whole numbers x below 2**15 and weight up to 2**11, without larger ones than 2**24."""
    high = (x / 256).floor()
    return ((weight * high + (weight * (x - 256 * high) / 256).floor()) / 256).floor()


def divided(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Quotient and remainder of whole numbers, a from 0 up and b from 1 up, with a quotient below 2**20."""
    quotient = (a.float() / b.float()).floor().long()  # may be one off
    rest = a - quotient * b
    for off in ((rest >= b).long(), -(rest < 0).long()):
        quotient, rest = quotient + off, rest - off * b
    return quotient, rest


def rounded(side: Tensor, above: Tensor, below: Tensor) -> Tensor:
    """int(side * (above / below) + 0.5), as Python computes it."""
    new, rest = divided(2 * side * above + below, 2 * below)
    half = (side * (above.double() / below.double()) + 0.5).long()  # of exact halves, rounding of the ratio decides
    return torch.where(rest == 0, half, new)


def bounded(side: Any, most: int) -> Any:
    """A side that follows from the picture, with what the exporter may reckon on."""
    torch._check(side >= MIN_SIDE)
    torch._check(side <= max(most, MIN_SIDE))
    return side


def weights(size: Any, new: Any, clipped: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of an axis of `new` places: the two places of the axis of `size` that each is between, and their weights in 1 / BITS.

    At the ends cv2 takes the outer place for both, with weights of BITS and 0 where `clipped`, else as they are.
    """
    own, count = (torch.full((1,), side, dtype=torch.long) for side in (size, new))
    place = torch.arange(new)
    # (place + 0.5) * size / new - 0.5, one more so that it is not negative
    first, rest = divided((2 * place + 1) * own + count, 2 * count)
    first, part = in_float32(first - 1, rest, 2 * count)
    last = own - 1
    if clipped:
        part = torch.where((first < 0) | (first >= last), 0.0, part)
    some, other = ((1.0 - part) * BITS).round(), (part * BITS).round()
    zero = torch.zeros_like(last)
    before, after = (torch.minimum(torch.maximum(at, zero), last) for at in (first, first + 1))
    return before, after, some, other


def in_float32(whole: Tensor, rest: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """`whole + rest / count` rounded to float32 as one number, as cv2 has it: its floor, and what is above that.

    The fraction of a number from 2**e up has 23 - e bits, which are found by long division, 10 of them first.
    """
    scale = LATER_BITS[(whole[:, None] >= EXPONENTS).sum(dim=1)]
    high, rest = divided(rest * 1024, count)
    low, rest = divided(rest * scale, count)
    odd = low - 2 * (low.float() / 2).floor().long()
    up = (2 * rest > count) | ((2 * rest == count) & (odd == 1))
    part = (high * scale + low + up.long()).float() / (1024 * scale).float()
    carried = (part >= 1).long()
    return whole + carried, part - carried.float()


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
    mean, std = mean.flatten().expand(3), std.flatten().expand(3)  # one value may stand for all
    return 'RGB' if swapped else 'BGR', mean.tolist(), std.tolist()


def pipeline_resize(pipeline: Any) -> dict[str, Any] | None:
    """What a test pipeline does with a picture between loading and packing: None, or its resize by `scale` and `keep_ratio`.

    Raises:
        InputError: for steps that a graph does not do.
    """
    steps = [step for step in (pipeline or [])[1:] if not loads_annotations(step) and not name_of(step).startswith('Pack')]
    loads = name_of(pipeline[0]) if pipeline else ''
    if loads != 'LoadImageFromFile':
        raise InputError(f'export: expected a pipeline that begins with LoadImageFromFile, got {loads or "none"}; {OTHERWISE}')
    plainly = {key: value for key, value in (pipeline[0] if pipeline else {}).items() if key not in ('type', 'backend_args')}
    if any(LOADED.get(key, ...) != value for key, value in plainly.items()):
        raise InputError(
            f'export: expected pictures that are loaded in colour and bytes, got {brief(pipeline[0])}; {OTHERWISE}'
        )
    if not steps:
        return None
    options = {key: value for key, value in steps[0].items() if key != 'type'}
    scale, keep_ratio = options.pop('scale', None), options.pop('keep_ratio', False)
    if isinstance(scale, int):
        scale = (scale, scale)
    plain = all(PLAIN.get(key, ...) == value for key, value in options.items())
    if len(steps) > 1 or name_of(steps[0]) != 'Resize' or not _finite(scale) or not plain:
        raise InputError(f'export: expected a pipeline with one bilinear Resize by its scale, got {brief(steps)}; {OTHERWISE}')
    return dict(scale=[int(side) for side in scale], keep_ratio=bool(keep_ratio))


def _finite(scale: Any) -> bool:
    return isinstance(scale, (tuple, list)) and len(scale) == 2 and all(isinstance(side, int) for side in scale)
