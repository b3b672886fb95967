"""What is wrong with this data set? Found before training, named with file and value; see check_seg.py and check_coco.py."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from convnext_dense.data.check_coco import coco_problems, filters, nothing_left, nothing_to_find
from convnext_dense.data.check_seg import find_folders, seg_problems
from convnext_dense.data.coco import brief, class_list, coco_files, innermost, is_coco_class, read_coco
from convnext_dense.data.pipeline import says, steps
from convnext_dense.errors import InputError
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.text import listed

SAMPLE = 64  # images, with their masks, opened per split in a quick scan
SHOWN = 3  # problems named in the error line


def check_split(name: str, cfg: Config, mode: str = 'sample') -> list[str]:
    """Problems of the data set under `cfg.{name}` (train_dataloader, …), each a line; empty where there are none.

    `mode` 'off' looks for the folders alone; otherwise every image must have a mask, and the content is read of `SAMPLE` pairs,
    spread evenly ('sample'), or of all ('all').

    Raises:
        InputError: if the folders are not there or hold no image, with the expected tree.
    """
    spec = _spec(cfg, name)
    return [] if spec is None else [line for part in parts(spec) for line in _problems(name, part, cfg, mode)]


def parts(spec: Any) -> list[Any]:
    """The data sets that a ConcatDataset is made of, or the one that there is."""
    inner = innermost(spec)
    joined = inner.get('datasets') if isinstance(inner, dict) else None
    if not isinstance(joined, (list, tuple)) or not joined or not all(isinstance(one, dict) for one in joined):
        return [spec]
    return [part for one in joined for part in parts(one)]


def _problems(name: str, spec: Any, cfg: Config, mode: str) -> list[str]:
    dataset = _build(spec, cfg.get('default_scope'))
    if is_coco_class(type(dataset)):
        return [] if mode == 'off' else list(_coco_split(name, spec, cfg, mode))
    if not hasattr(dataset, 'reduce_zero_label'):  # no segmentation data set of mmseg's kind
        return []
    folders = find_folders(name, dataset)
    if mode == 'off':
        return []
    pipeline = innermost(spec).get('pipeline')
    smallest = 1 if name == 'train_dataloader' else MIN_SIDE  # training pads to the crop
    return seg_problems(name, dataset, folders, pipeline, smallest, SAMPLE if mode == 'sample' else None)


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
    spec = _spec(cfg, name)
    dataset = _build(spec, cfg.get('default_scope')) if spec is not None else None
    classes = dataset.metainfo.get('classes') if dataset is not None else None
    for head in ('decode_head', 'auxiliary_head'):
        model = cfg.get('model')
        heads = model.get(head) if isinstance(model, dict) else None
        for node in heads if isinstance(heads, (list, tuple)) else [heads]:
            predicted = node.get('num_classes') if isinstance(node, dict) else None
            if classes and predicted is not None and (type(predicted) is not int or predicted != len(classes)):
                raise InputError(
                    f'model.{head}.num_classes: expected {len(classes)}, the classes of {type(dataset).__name__}; '
                    f'got {predicted!r}'
                )


def data_classes(cfg: Config, name: str) -> tuple[str, ...]:
    """The classes of the data set under `cfg.{name}`."""
    return tuple(_build(_spec(cfg, name), cfg.get('default_scope')).metainfo.get('classes') or ())


def _spec(cfg: Config, name: str) -> Any:
    """The data set's part of the config; None without such a loader."""
    loader = cfg.get(name) or {}
    if not isinstance(loader, dict) or (loader and not isinstance(loader.get('dataset'), dict)):
        raise InputError(f'{name}: expected dict(dataset=dict(type=...), ...), got {brief(loader)}')
    if loader and not isinstance(innermost(loader), dict):
        raise InputError(f'{name}.dataset: expected dict(type=...) in the innermost, got {brief(innermost(loader))}')
    return loader.get('dataset')


def _build(spec: Any, scope: str | None) -> Any:
    """The data set without its files and pipeline."""
    spec = copy.deepcopy(innermost(parts(spec)[0]))
    class_list(spec)
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return DATASETS.build({**spec, 'pipeline': [], 'lazy_init': True})
    except InputError:
        raise
    except Exception as error:  # whatever a data set's class raises at its arguments
        if 'not a subset of classes' in str(error):
            raise InputError(
                f'metainfo.classes: expected some of the classes that {spec.get("type")} has itself, got '
                f'{listed(spec["metainfo"]["classes"])}; leave metainfo out, or for classes of your own set '
                "type='BaseSegDataset' in the data set"
            ) from error
        words = str(error.args[0] if error.args else error).strip().splitlines() or [type(error).__name__]
        raise InputError(f'data: the data set cannot be built from this config: {words[0]}') from error


def _coco_split(name: str, spec: Any, cfg: Config, mode: str) -> Iterator[str]:
    spec = innermost(spec)
    files = coco_files(spec)
    evaluator = cfg.get(name.replace('dataloader', 'evaluator')) or {}
    pipeline = spec.get('pipeline')
    with_masks = says(pipeline, 'with_mask') or (name != 'train_dataloader' and _judges_masks(evaluator))
    sample = SAMPLE if mode == 'sample' else None
    classes = class_list(spec)
    yield from coco_problems(files.annotations, files.images, with_masks, sample, pipeline)
    if name == 'train_dataloader':
        yield from nothing_left(files.annotations, *filters(spec), classes)
    elif not says(evaluator, 'format_only'):
        yield from nothing_to_find(files.annotations, classes)


def _judges_masks(evaluator: Any) -> bool:
    """Whether an evaluator compares masks; ours does where it is not told what to."""
    return any(
        'segm' in (node.get('metric') or ()) or (node.get('type') == 'CocoStatsMetric' and 'metric' not in node)
        for node in steps(evaluator)
    )
