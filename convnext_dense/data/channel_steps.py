"""Steps of a data pipeline for pictures of any number of channels; mmcv's and the scopes of mmseg and mmdet find them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from convnext_dense.data.channels import MOST, read_channels
from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import InputError
from convnext_dense.expect import brief, expect_number, number, whole


def expect_channels(channels: Any) -> None:
    if not whole(channels, 1) or channels > MOST:
        raise InputError(f'channels: expected a whole number from 1 to {MOST}, got {brief(channels)}')


def expect_numbers(name: str, given: Any, channels: int, least: float) -> None:
    """Stop at what are no `channels` finite numbers from `least` up."""
    if not isinstance(given, Sequence) or len(given) != channels or not all(number(value, least) for value in given):
        raise InputError(f'{name}: expected {channels} finite numbers, one a channel, from {least:g} up; got {brief(given)}')


@TRANSFORMS.register_module()
class LoadChannels(BaseTransform):
    """`LoadImageFromFile` for pictures of `channels` channels: `img` is (H, W, channels) of float32, the file's own values.

    Floats, so that no later step cuts to bytes; red, green, blue where these are the channels.
    """

    def __init__(self, channels: int) -> None:
        expect_channels(channels)
        self.channels = channels

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """
        Raises:
            InputError: with the path, as `read_channels`.
        """
        path = results['img_path']
        try:
            values = read_channels(Path(path), self.channels)
        except UnreadableError as error:
            raise InputError(f'{path} {error}') from error
        image = np.ascontiguousarray(values, np.float32)
        return results | dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])

    def __repr__(self) -> str:
        return f'{type(self).__name__}(channels={self.channels})'


@TRANSFORMS.register_module()
class ChannelJitter(BaseTransform):
    """Brightness and contrast of any channels, in place of `PhotoMetricDistortion`; each with a probability of a half.

    Args:
        mean, std: of each channel.
        brightness: the largest shift, up or down, the same for all channels, in units of each channel's `std`.
        contrast: the range of the factor by which values move away from their channel's `mean`.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        brightness: float = 0.5,
        contrast: tuple[float, float] = (0.5, 1.5),
    ) -> None:
        expect_numbers('mean', mean, len(mean) if isinstance(mean, Sequence) else 1, -np.inf)
        expect_numbers('std', std, len(mean), 0)
        expect_number('brightness', brightness, 0)
        expect_numbers('contrast', contrast, 2, 0)
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)
        self.brightness, self.contrast = brightness, contrast

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img']
        values = image if image.ndim == 3 else image[..., None]  # OpenCV drops the one channel where it resizes
        if np.random.randint(2):
            values = values + np.float32(np.random.uniform(-self.brightness, self.brightness)) * self.std
        if np.random.randint(2):
            values = (values - self.mean) * np.float32(np.random.uniform(*self.contrast)) + self.mean
        return results | dict(img=values.reshape(image.shape).astype(np.float32, copy=False))

    def __repr__(self) -> str:
        return f'{type(self).__name__}({len(self.mean)} channels, brightness={self.brightness}, contrast={self.contrast})'
