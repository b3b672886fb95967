"""What an exported file says about itself: how a picture is brought to it, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convnext_dense.errors import InputError
from convnext_dense.expect import brief, number, whole

FORMAT = 1  # of the description; a greater number is one that this version cannot read
AGAIN = 'export it again'
BINARY = 0.3  # MMSegmentation's threshold of a single channel


@dataclass(frozen=True)
class Resize:
    """mmcv's Resize: to `scale`, or with `keep_ratio` to the largest size within it."""

    scale: tuple[float, float]
    keep_ratio: bool


@dataclass(frozen=True)
class About:
    """The description of a file. See docs/export.md."""

    is_segmentor: bool
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    channels_first: bool
    rgb: bool  # else BGR
    size: tuple[int, int] | None  # (H, W) of the input; None: any
    batch: int | None  # None: any
    raw: bool  # the caller resizes and normalises
    resize: Resize | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    align_corners: bool
    masks: str | None  # 'crop', 'full'
    mask_threshold: float
    threshold: float  # of a segmentor of one channel
    least: int  # pixels of a side
    checkpoint: str


def parsed(text: str | None) -> About:
    """The description as a file carries it.

    Raises:
        InputError: for none, one of a later format, and one that lacks a part or has another value than the format knows.
    """
    if text is None:
        raise InputError('expected a file that convnext-dense wrote, got one without its description; export the checkpoint')
    try:
        said = json.loads(text)
    except ValueError as error:
        raise InputError(f'expected its description as JSON, got {brief(text)}; {AGAIN}') from error
    if not isinstance(said, Mapping):
        raise InputError(f'expected its description as a JSON object, got {brief(said)}; {AGAIN}')
    version = said.get('format')
    if whole(version, FORMAT + 1):
        made = said.get('made_by', 'a newer version')
        raise InputError(f'expected format {FORMAT}, got {version}, of {brief(made)}; install a newer convnext_dense')
    if version != FORMAT or version is True:
        raise InputError(f'expected format {FORMAT} in its description, got {brief(version)}; {AGAIN}')
    try:
        return _about(said)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        what = f'{error} missing' if isinstance(error, KeyError) else str(error)
        raise InputError(f'expected a whole description, got one that cannot be used ({what}); {AGAIN}') from error


def _about(said: Mapping[str, Any]) -> About:
    taken = said['input']
    classes = tuple(map(str, said['classes']))
    palette = tuple((int(r), int(g), int(b)) for r, g, b in said['palette'])
    if not classes or len(palette) != len(classes):
        raise ValueError(f'{len(classes)} classes and {len(palette)} colours')
    mean, std = ((tuple(map(float, said[key]))) for key in ('mean', 'std'))
    if len(mean) != 3 or len(std) != 3 or not all(std):
        raise ValueError(f'mean {brief(mean)} and std {brief(std)}')
    raw = _one_of(said, 'raw', (True, False))
    if _one_of(taken, 'type', ('uint8', 'float32')) != ('float32' if raw else 'uint8'):
        raise ValueError(f'an input of {taken["type"]} with raw {raw}')
    return About(
        is_segmentor=_one_of(said, 'task', ('segmentation', 'detection')) == 'segmentation',
        classes=classes,
        palette=palette,
        channels_first=_one_of(taken, 'layout', ('BHWC', 'BCHW')) == 'BCHW',
        rgb=_one_of(taken, 'colour', ('RGB', 'BGR')) == 'RGB',
        size=None if taken['size'] == 'dynamic' else _size(taken['size']),
        batch=None if _one_of(taken, 'batch', ('dynamic', 1)) == 'dynamic' else 1,
        raw=raw,
        resize=None if said['resize'] is None else _resize(said['resize']),
        mean=mean,
        std=std,
        align_corners=bool(said.get('align_corners', False)),
        masks=_one_of(said, 'masks', ('crop', 'full', None)) if 'masks' in said else None,
        mask_threshold=0.5 if said.get('mask_threshold') is None else float(said['mask_threshold']),
        threshold=BINARY if said.get('threshold') is None else float(said['threshold']),
        least=int(taken.get('least', 1)),
        checkpoint=str(said.get('checkpoint', '')),
    )


def _one_of(said: Mapping[str, Any], key: str, known: tuple[Any, ...]) -> Any:
    if said[key] not in known:
        raise ValueError(f'{key} {brief(said[key])}, where {", ".join(map(repr, known))} are known')
    return said[key]


def _size(given: Any) -> tuple[int, int]:
    height, width = given
    if not (whole(height, 1) and whole(width, 1)):
        raise ValueError(f'size {brief(given)}')
    return height, width


def _resize(given: Any) -> Resize:
    if 'steps' in given:
        raise InputError(
            f'expected a test pipeline of one resize at most, got a raw file of {brief(given["steps"])}, which its caller has '
            'to run; predict by its checkpoint'
        )
    first, second = given['scale']
    if not (number(first, 1) and number(second, 1)):
        raise ValueError(f'scale {brief(given["scale"])}')
    return Resize((first, second), _one_of(given, 'keep_ratio', (True, False)))
