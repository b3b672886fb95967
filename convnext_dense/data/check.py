"""What is wrong with this data set? Found before training, named with file and value; see check_seg.py and check_coco.py."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from convnext_dense.data.check_coco import coco_problems, filters, nothing_left, nothing_to_find
from convnext_dense.data.check_ignored import check_ignored, heads
from convnext_dense.data.check_record import record_problems
from convnext_dense.data.check_seg import find_folders, seg_problems
from convnext_dense.data.coco import MEND, both, class_list, coco_files, is_coco_class, parts, read_coco
from convnext_dense.data.pipeline import check_resizes, says, steps
from convnext_dense.errors import InputError
from convnext_dense.expect import brief, whole
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
    return [line for where, spec in data_sets(cfg, name) for line in _problems(name, where, spec, cfg, mode)]


def _problems(name: str, where: str, spec: Any, cfg: Config, mode: str) -> list[str]:
    dataset = build_data_set(where, spec, cfg.get('default_scope'))
    check_resizes(f'{where}.pipeline', spec.get('pipeline'))
    if is_coco_class(type(dataset)):
        return [] if mode == 'off' else list(_coco_split(name, spec, cfg, mode))
    if not hasattr(dataset, 'reduce_zero_label'):  # no segmentation data set of mmseg's kind
        return []
    smallest = 1 if name == 'train_dataloader' else MIN_SIDE  # training pads to the crop
    if type(dataset).__name__ == 'FolderDataset':  # its folders and masks were looked through when it was recorded
        return (
            []
            if mode == 'off'
            else record_problems(dataset, spec.get('pipeline'), smallest, SAMPLE if mode == 'sample' else None)
        )
    folders = find_folders(name, dataset)
    if mode == 'off':
        return []
    pipeline = spec.get('pipeline')
    return seg_problems(name, dataset, folders, pipeline, smallest, SAMPLE if mode == 'sample' else None)


def check_data(cfg: Config, names: Sequence[str], mode: str = 'sample') -> None:
    """Stop where a data set has problems; `mode` as in `check_split`.

    Raises:
        InputError: with the number of problems and the first of them.
    """
    check_classes(cfg, names)
    check_ignored(cfg, names)
    problems = [line for name in names for line in check_split(name, cfg, mode)]
    read_coco.cache_clear()  # the last to read it: a large file is not to stay in memory while training runs
    if problems:
        more = f'; and {len(problems) - SHOWN} more (`convnext-dense check` lists all)' if len(problems) > SHOWN else ''
        count = f'{len(problems)} problem{"s" if len(problems) > 1 else ""}'
        raise InputError(f'data: {count}: {"; ".join(problems[:SHOWN])}{more}; {_advice(cfg, names, problems[:SHOWN])}')


def _advice(cfg: Config, names: Sequence[str], problems: Sequence[str]) -> str:
    """What to do about problems: those of a COCO file's content are mended there, not by removing it."""
    specs = [spec for name in names for _, spec in data_sets(cfg, name) if 'ann_file' in spec]
    starts = tuple(f'{coco_files(spec).annotations}: ' for spec in specs if spec['ann_file'])
    of_file = [line.startswith(starts) for line in problems]
    missing = any(': image ' in line and ' is missing: ' in line for line, inside in zip(problems, of_file) if inside)
    file = f'{MEND} or add the missing pictures' if missing else MEND
    return ', and '.join([file] * any(of_file) + ['mend or remove these files'] * (not all(of_file)))


def check_classes(cfg: Config, names: Sequence[str]) -> None:
    """Stop where data sets name other classes than the first, or read their masks otherwise, or a head predicts another number.

    Raises:
        InputError: with both data sets, or with the head.
    """
    scope = cfg.get('default_scope')
    first_where, first = None, None
    for name in names:
        check_num_classes(cfg, name)
        loader = [(where, build_data_set(where, spec, scope)) for where, spec in data_sets(cfg, name)]
        for where, dataset in loader:
            if first is None:
                first_where, first = where, dataset
            one, other = (tuple(data.metainfo.get('classes') or ()) for data in (first, dataset))
            if one and other and one != other:  # none at all is told by the class of the data set
                raise InputError(
                    f'{where}: expected the classes of {first_where} in the same order, got '
                    f'{both(one, first_where, other, where)}; give both the same metainfo.classes'
                )
            reduced = [getattr(data, 'reduce_zero_label', None) for data in (first, dataset)]
            if reduced[0] != reduced[1]:
                raise InputError(
                    f'{where}.reduce_zero_label: expected {brief(reduced[0])}, as of {first_where}; got {brief(reduced[1])}; '
                    'set both to the same'
                )
        _check_joined(loader, next((step.get('ignore_keys') for step in steps(cfg.get(name)) if 'datasets' in step), None))


def _check_joined(loader: list[tuple[str, Any]], ignored: Any) -> None:
    """Stop where the parts of a ConcatDataset differ in what else they say of themselves, as mmengine does."""
    ignored = [ignored] if isinstance(ignored, str) else ignored or ()
    for where, dataset in loader[1:]:
        first_where, meta, other = loader[0][0], loader[0][1].metainfo, dataset.metainfo
        for key in dict.fromkeys([*meta, *other]):
            if key not in ignored and not _same(meta.get(key), other.get(key)):
                raise InputError(
                    f'{where}: expected the same metainfo.{key} as in {first_where}, {brief(meta.get(key))}; got '
                    f"{brief(other.get(key))}; make them equal, or set ignore_keys=['{key}'] of the ConcatDataset"
                )


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other)


def check_num_classes(cfg: Config, name: str) -> None:
    """Stop where a head predicts another number of classes than a data set names."""
    for where, spec in data_sets(cfg, name):
        dataset = build_data_set(where, spec, cfg.get('default_scope'))
        classes = dataset.metainfo.get('classes')
        for place, head in heads(cfg):
            predicted = head.get('num_classes')
            if classes and predicted is not None and (type(predicted) is not int or predicted != len(classes)):
                raise InputError(
                    f'{place}.num_classes: expected {len(classes)}, the classes of {type(dataset).__name__}; got '
                    f'{predicted!r}; set it to the number of classes of {where}'
                )


def data_classes(cfg: Config, name: str) -> tuple[str, ...]:
    """The classes of the data set under `cfg.{name}`."""
    where, spec = data_sets(cfg, name)[0]
    return tuple(build_data_set(where, spec, cfg.get('default_scope')).metainfo.get('classes') or ())


def data_sets(cfg: Config, name: str) -> list[tuple[str, Any]]:
    """The data sets' parts of the config, each with its place; none without such a loader."""
    loader = cfg.get(name) or {}
    if not isinstance(loader, dict) or (loader and not isinstance(loader.get('dataset'), dict)):
        raise InputError(f'{name}: expected dict(dataset=dict(type=...), ...), got {brief(loader)}')
    if not loader:
        return []
    found = parts(loader['dataset'], f'{name}.dataset')
    for _, spec in found:
        if not isinstance(spec, dict):
            raise InputError(f'{name}.dataset: expected dict(type=...) in the innermost, got {brief(spec)}')
    for step in steps(loader['dataset']):
        if (
            str(step.get('type')).rpartition('.')[2] == 'RepeatDataset'
            and 'dataset' in step
            and not whole(step.get('times'), 1)
        ):
            raise InputError(f'{name}: expected times of 1 or more in RepeatDataset, got {brief(step.get("times"))}')
    return found


def build_data_set(where: str, spec: Any, scope: str | None) -> Any:
    """The data set without its files and pipeline."""
    spec = copy.deepcopy(spec)
    try:
        class_list(spec)
    except InputError as error:
        raise InputError(f'{where}.{error}') from error
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return DATASETS.build({**spec, 'pipeline': [], 'lazy_init': True})
    except InputError:
        raise
    except Exception as error:  # whatever a data set's class raises at its arguments
        if 'not a subset of classes' in str(error):
            raise InputError(
                f'{where}.metainfo.classes: expected some of the classes that {spec.get("type")} has itself, got '
                f'{listed(spec["metainfo"]["classes"])}; leave metainfo out, or for classes of your own set '
                "type='BaseSegDataset' in the data set"
            ) from error
        words = str(error.args[0] if error.args else error).strip().splitlines() or [type(error).__name__]
        raise InputError(f'{where}: the data set cannot be built from this config: {words[0]}') from error


def _coco_split(name: str, spec: Any, cfg: Config, mode: str) -> Iterator[str]:
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
