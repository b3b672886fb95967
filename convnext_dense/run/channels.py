"""Fit a config to pictures of any number of channels: what loads, augments and normalises them, and the backbone's stem.

What is changed stands in the config that a checkpoint carries, so that testing and predicting need nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from mmengine.config import Config, ConfigDict

from convnext_dense.data.channel_steps import expect_channels, expect_numbers
from convnext_dense.errors import InputError
from convnext_dense.run.nodes import dicts
from convnext_dense.run.settle import BACKBONE
from convnext_dense.text import listed

LOADERS = ('LoadImageFromFile', 'LoadChannels')
DISTORTIONS = ('PhotoMetricDistortion', 'ChannelJitter')
PREPROCESSORS = ('SegDataPreProcessor', 'DetDataPreprocessor', 'ChannelsDetDataPreprocessor')
# Steps of mmseg and mmdet that are defined for three channels of bytes alone.
COLOUR_STEPS = (
    'AdjustGamma',
    'Albu',
    'AutoAugment',
    'AutoContrast',
    'Brightness',
    'CLAHE',
    'Color',
    'ColorTransform',
    'Contrast',
    'Corrupt',
    'Equalize',
    'Invert',
    'Posterize',
    'RGB2Gray',
    'RandAugment',
    'Rerange',
    'Sharpness',
    'Solarize',
    'SolarizeAdd',
    'YOLOXHSVRandomAug',
)
STEPS = 'convnext_dense.data.channel_steps'
DETECTION = 'convnext_dense.detection'


def settle_channels(cfg: Config, channels: int, mean: Sequence[float], std: Sequence[float]) -> str:
    """Set `cfg` to pictures of so many channels, of this mean and deviation each; a line for the log.

    Raises:
        InputError: for numbers that are none, a config without the parts, and steps that need three channels of bytes.
    """
    expect_channels(channels)
    expect_numbers('mean', mean, channels, float('-inf'))
    expect_numbers('std', std, channels, 0)
    mean, std = [float(value) for value in mean], [float(value) for value in std]
    constant = [i + 1 for i, value in enumerate(std) if value == 0]
    std = [value or 1.0 for value in std]
    nodes = [(node, _name(node)) for node in dicts(cfg)]
    _check_steps(nodes)
    _set_backbone(nodes, channels)
    for node, name in nodes:
        if name in LOADERS:
            _replace(node, type='LoadChannels', channels=channels)
        elif name in DISTORTIONS:
            _replace(node, type='ChannelJitter', mean=mean, std=std)
    detector = _set_preprocessor(nodes, channels, mean, std)
    _import(cfg, [STEPS, *([DETECTION] if detector else [])])
    parts = [f'channels: {channels}, read with their own values and normalised by the mean and deviation of each']
    if any(name in DISTORTIONS for _, name in nodes):
        parts.append('PhotoMetricDistortion -> ChannelJitter')
    if constant:
        parts.append(f'the same value everywhere in channel {listed(constant)}')
    return '; '.join(parts)


def _name(node: Any) -> str:
    """The name of a dict's class, without its package."""
    cls = node.get('type')
    return cls.rpartition('.')[2] if isinstance(cls, str) else getattr(cls, '__name__', '')


def _replace(node: ConfigDict, **entries: Any) -> None:
    node.clear()
    node.update(entries)


def _check_steps(nodes: Sequence[tuple[ConfigDict, str]]) -> None:
    names = [name for _, name in nodes]
    wrong = [name for name in dict.fromkeys(names) if name in COLOUR_STEPS]
    if wrong:
        raise InputError(
            f'channels: expected steps that take any channels, got {listed(wrong)}, for three of bytes alone; '
            'take them out of the pipelines, or ChannelJitter in their place'
        )
    if not any(name in LOADERS for name in names):
        raise InputError('channels: expected pipelines that begin with LoadImageFromFile, found none; see a recipe')


def _set_backbone(nodes: Sequence[tuple[ConfigDict, str]], channels: int) -> None:
    backbones = [node for node, name in nodes if name in BACKBONE]
    if not backbones:
        raise InputError('channels: expected a backbone of type ConvNeXt in the config, found none; see a recipe')
    for node in backbones:
        node['in_channels'] = channels


def _set_preprocessor(
    nodes: Sequence[tuple[ConfigDict, str]], channels: int, mean: Sequence[float], std: Sequence[float]
) -> bool:
    """Whether it is a detector's."""
    found = [(node, name) for node, name in nodes if name in PREPROCESSORS]
    if not found:
        raise InputError(
            f'channels: expected a data_preprocessor of type {" or ".join(PREPROCESSORS[:2])} in the config, found none; '
            'see a recipe'
        )
    detector = any(name != PREPROCESSORS[0] for _, name in found)
    for node, name in found:
        node.pop('rgb_to_bgr', None)
        node.update(mean=mean, std=std, bgr_to_rgb=False)
        if name != PREPROCESSORS[0]:
            node['type'] = PREPROCESSORS[1] if channels in (1, 3) else PREPROCESSORS[2]
    return detector


def _import(cfg: Config, modules: Sequence[str]) -> None:
    """Import what registers the steps, here and wherever the config is read again."""
    given = cfg.get('custom_imports') or {}
    given = dict(given) if isinstance(given, dict) else dict(imports=given)
    named = given.get('imports') or []
    named = [named] if isinstance(named, str) else list(named)
    cfg.custom_imports = {**given, 'imports': [*named, *(module for module in modules if module not in named)]}
    for module in modules:
        import_module(module)
