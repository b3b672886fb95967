"""What is wrong with this data set? Found before training, named with file and value. COCO files: see check_coco.py."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from convnext_dense.data.check_coco import coco_problems, spread
from convnext_dense.data.coco import coco_files, innermost, is_coco_class, read_coco
from convnext_dense.errors import InputError
from convnext_dense.models.convnext import MIN_SIDE

SAMPLE = 64  # images, with their masks, opened per split in a quick scan
SHOWN = 3  # problems named in the error line
ADE20K_SOURCE = 'https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip'
HOW_TO_GET = {
    'ADE20KDataset': f'ADE20K is at {ADE20K_SOURCE}',
    'ShapesDataset': 'write it with: python tools/make_shapes.py DIR',
}


def check_split(name: str, cfg: Config, mode: str = 'sample') -> list[str]:
    """Problems of the data set under `cfg.{name}` (train_dataloader, …), each a line; empty where there are none.

    `mode` 'off' looks for the folders alone; otherwise every image must have a mask, and the content is read of `SAMPLE` pairs,
    spread evenly ('sample'), or of all ('all').

    Raises:
        InputError: if the folders are not there or hold no image, with the expected tree.
    """
    spec = cfg.get(name, {}).get('dataset')
    if spec is None:
        return []
    dataset = _build(spec, cfg.get('default_scope'))
    if is_coco_class(type(dataset)):
        return [] if mode == 'off' else _coco_split(spec, mode)
    if not hasattr(dataset, 'reduce_zero_label'):  # no segmentation data set of mmseg's kind
        return []
    kind = type(dataset).__name__
    folders = {key: Path(dataset.data_prefix[key]) for key in ('img_path', 'seg_map_path') if dataset.data_prefix.get(key)}
    tree = ', '.join(f'{folder}/*{_suffix(dataset, key)}' for key, folder in folders.items())
    for folder in folders.values():
        if not folder.is_dir():
            hint = f'; {HOW_TO_GET[kind]}' if kind in HOW_TO_GET else ''
            raise InputError(f'data ({name}): expected {tree}; got no folder {folder}; pass --data-root DIR{hint}')
    if mode == 'off':
        return []
    pairs = [(Path(item['img_path']), Path(item['seg_map_path'])) for item in dataset.load_data_list()]
    if not pairs:
        raise InputError(f'data ({name}): expected {tree}; got no image in {folders["img_path"]}; pass --data-root DIR')
    problems = [f'{image} has no mask {mask}' for image, mask in pairs if not mask.is_file()]
    whole = [pair for pair in pairs if pair[1].is_file()]
    whole = spread(whole, SAMPLE if mode == 'sample' else None)
    allowed = _allowed_values(dataset)
    resized = any('Resize' in str(step) for step in spec.get('pipeline', []))
    smallest = 1 if resized or name == 'train_dataloader' else MIN_SIDE  # training pads to the crop
    for image, mask in whole:
        problems += _check_pair(image, mask, allowed, smallest)
    return problems


def check_data(cfg: Config, names: Sequence[str], mode: str = 'sample') -> None:
    """Stop where a data set has problems; `mode` as in `check_split`.

    Raises:
        InputError: with the number of problems and the first of them.
    """
    check_num_classes(cfg, names[0])
    problems = [line for name in names for line in check_split(name, cfg, mode)]
    read_coco.cache_clear()  # the last to read it: a large file is not to stay in memory while training runs
    if problems:
        more = f'; and {len(problems) - SHOWN} more (tools/check_data.py lists all)' if len(problems) > SHOWN else ''
        count = f'{len(problems)} problem{"s" if len(problems) > 1 else ""}'
        raise InputError(f'data: {count}: {"; ".join(problems[:SHOWN])}{more}; mend or remove these files')


def check_num_classes(cfg: Config, name: str) -> None:
    """Stop where a head predicts another number of classes than the data set names."""
    spec = cfg.get(name, {}).get('dataset')
    dataset = _build(spec, cfg.get('default_scope')) if spec else None
    classes = dataset.metainfo.get('classes') if dataset is not None else None
    for head in ('decode_head', 'auxiliary_head'):
        predicted = cfg.get('model', {}).get(head, None)
        predicted = predicted.get('num_classes') if isinstance(predicted, dict) else None
        if classes and predicted is not None and predicted != len(classes):
            raise InputError(
                f'model.{head}.num_classes: expected {len(classes)}, the classes of {type(dataset).__name__}; got {predicted}'
            )


def data_classes(cfg: Config, name: str) -> tuple[str, ...]:
    """The classes of the data set under `cfg.{name}`."""
    return tuple(_build(cfg[name].dataset, cfg.get('default_scope')).metainfo.get('classes') or ())


def _build(spec: Any, scope: str | None) -> Any:
    """The data set without its files and pipeline."""
    spec = copy.deepcopy(innermost(spec))
    try:
        with DefaultScope.overwrite_default_scope(scope):
            dataset = DATASETS.build({**spec, 'pipeline': [], 'lazy_init': True})
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'data: the data set cannot be built from this config: {error.args[0] if error.args else error}'
        ) from error
    return dataset


def _coco_split(spec: Any, mode: str) -> list[str]:
    spec = innermost(spec)
    files = coco_files(spec)
    with_masks = "'with_mask': True" in str(spec.get('pipeline'))
    return list(coco_problems(files.annotations, files.images, with_masks, SAMPLE if mode == 'sample' else None))


def _suffix(dataset: Any, key: str) -> str:
    return dataset.img_suffix if key == 'img_path' else dataset.seg_map_suffix


def _allowed_values(dataset: Any) -> range:
    """Values that name a class or, with reduce_zero_label, 0 for unlabelled; 255 is always ignored."""
    classes = len(type(dataset).METAINFO.get('classes') or dataset.metainfo['classes'])
    return range(classes + 1) if dataset.reduce_zero_label else range(classes)


def _check_pair(image_path: Path, mask_path: Path, allowed: range, smallest: int) -> Iterator[str]:
    opened = []
    for path in (image_path, mask_path):
        try:
            with Image.open(path) as file:
                file.load()
                opened.append(file.copy())
        except (OSError, SyntaxError, ValueError) as error:
            yield f'{path} cannot be read ({error})'
    if len(opened) < 2:
        return
    image, mask = opened
    if min(image.size) < smallest:
        yield f'{image_path} is {_size(image)}; expected at least {smallest} pixels a side, or a Resize in the pipeline'
    if image.size != mask.size:
        yield f'{image_path} is {_size(image)} but {mask_path} is {_size(mask)} (width x height)'
    values = np.unique(np.asarray(mask))
    if np.asarray(mask).ndim != 2:
        yield f'{mask_path} has mode {mask.mode}; expected one channel of class numbers'
        return
    wrong = [int(value) for value in values if value not in allowed and value != 255]
    if wrong:
        yield f'{mask_path} has value {", ".join(map(str, wrong[:5]))}; expected 0 to {allowed[-1]}, or 255 to ignore'


def _size(image: Image.Image) -> str:
    return f'{image.width}x{image.height}'
