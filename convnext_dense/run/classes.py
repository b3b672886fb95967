"""Point a config's COCO data sets at their files, and give every head the classes that the files name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from convnext_dense.data.check_coco import filters, left_out
from convnext_dense.data.coco import (
    class_list,
    class_names,
    coco_files,
    find_annotations,
    find_images,
    innermost,
    is_coco_class,
    read_coco,
)
from convnext_dense.errors import InputError
from convnext_dense.run.nodes import component, dicts
from convnext_dense.run.overrides import check_once
from convnext_dense.text import listed

COCO_CLASSES = 80  # of the published recipes: heads left at it take the number of the data
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def dataset_spec(cfg: Config, name: str) -> ConfigDict | None:
    """The innermost data set under `cfg.{name}`, out of RepeatDataset and its like; None where there is none."""
    loader = cfg.get(name)
    spec = innermost(loader.get('dataset')) if isinstance(loader, dict) else None
    return spec if isinstance(spec, dict) else None  # anything else is refused when it is built


def is_coco(cfg: Config, spec: Mapping[str, Any] | None) -> bool:
    """Whether the data set is mmdet's CocoDataset or a subclass."""
    return spec is not None and is_coco_class(component(spec.get('type'), cfg.get('default_scope')))


def settle_coco(
    cfg: Config,
    names: tuple[str, ...],
    train_ann: str | None = None,
    val_ann: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[str]:
    """Settle files, classes, heads and evaluators for the data sets under `names`; the lines say what was found.

    The classes are those of the first data set's file. A class list in the config (`metainfo.classes`) must equal them, and
    so must the number of classes that a head or an override names.

    Raises:
        InputError: for a missing file, classes that differ, or an annotation file given to another kind of data set.
    """
    if train_ann and 'train_dataloader' not in names:
        raise InputError('--train-ann: expected by training alone; pass the file to test on as --val-ann')
    _check_given_once(train_ann, val_ann, overrides)
    lines: list[str] = []
    specs = {name: dataset_spec(cfg, name) for name in LOADERS}
    for name, spec in specs.items():
        ann = train_ann if name == 'train_dataloader' else val_ann
        if not is_coco(cfg, spec):
            if ann and spec is not None:
                option = '--train-ann' if name == 'train_dataloader' else '--val-ann'
                raise InputError(f'{option}: expected a COCO data set in the config, got {spec.get("type")}; leave it out')
            continue
        if name in names:
            lines.append(_settle_files(name, spec, ann))
            _check_images(name, spec, overrides)
        elif ann and spec is not None:
            spec['ann_file'] = ann
    first = next((specs[name] for name in names if is_coco(cfg, specs[name])), None)
    if first is None:
        return []
    classes = _settle_classes(cfg, {name: spec for name, spec in specs.items() if name in names and is_coco(cfg, spec)})
    lines.append(_settle_heads(cfg, classes, coco_files(first).annotations, overrides or {}))
    for name in ('val', 'test'):
        spec = specs[f'{name}_dataloader']
        for node in dicts(cfg.get(f'{name}_evaluator') or {}):
            if is_coco(cfg, spec) and 'ann_file' in node:
                if f'{name}_dataloader' in names:
                    _check_evaluator(f'{name}_evaluator', node['ann_file'], spec, overrides)
                node['ann_file'] = str(coco_files(spec).annotations)
    if first is specs['train_dataloader']:
        lines.append(left_out(coco_files(first).annotations, *filters(first), classes))
    return [line for line in dict.fromkeys(lines) if line]


def _check_given_once(train_ann: str | None, val_ann: str | None, overrides: Mapping[str, Any] | None) -> None:
    for option, ann, loaders in (('--train-ann', train_ann, LOADERS[:1]), ('--val-ann', val_ann, LOADERS[1:])):
        if ann:
            check_once(option, overrides, lambda key, loaders=loaders: key.startswith(loaders) and key.endswith('.ann_file'))


def _check_images(name: str, spec: ConfigDict, overrides: Mapping[str, Any] | None) -> None:
    """Stop where an override names another folder of images than the one that was found."""
    for key, value in (overrides or {}).items():
        if key.startswith(f'{name}.') and key.endswith('data_prefix.img'):
            found = spec['data_prefix']['img']
            base = spec.get('data_root') or os.path.dirname(spec['ann_file'])
            given = os.path.realpath(os.path.join(base, str(value)))
            if given != found:
                raise InputError(
                    f'--cfg-options {key}: expected the folder with the images of {spec["ann_file"]}, got {given}, where not '
                    f'all of them are; they are in {found}; leave it out'
                )


def _check_evaluator(name: str, given: Any, spec: ConfigDict, overrides: Mapping[str, Any] | None) -> None:
    """Stop where an override names another file than that of the data set, whose file is the evaluator's."""
    used = spec['ann_file']
    same = used in {os.path.realpath(os.path.join(root, str(given))) for root in (spec.get('data_root') or '', '')}
    for key in overrides or {}:
        if key.startswith(f'{name}.') and key.endswith('ann_file') and not same:
            raise InputError(
                f"--cfg-options {key}: expected the data set's file, {used}, got {given}; pass it as --val-ann, or leave it out"
            )


def _settle_files(name: str, spec: ConfigDict, ann: str | None) -> str:
    if ann:
        spec['ann_file'] = ann
    coco_files(spec)  # all of it paths
    root = spec.get('data_root')
    annotations = find_annotations(root, spec['ann_file'])
    prefix = (spec.get('data_prefix') or {}).get('img', '')
    images = find_images(root, annotations, prefix, read_coco(annotations))
    # Absolute, so that the dumped config says which files were used.
    spec['ann_file'], spec['data_prefix'] = str(annotations), dict(img=str(images))
    return f'data ({name}): {annotations}, images in {images}'


def _settle_classes(cfg: Config, specs: Mapping[str, ConfigDict]) -> tuple[str, ...]:
    """The classes of the first file, set in every data set; those that the config names must be the same."""
    names: tuple[str, ...] = ()
    source = None
    for spec in specs.values():
        path = coco_files(spec).annotations
        found = class_names(read_coco(path))
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise InputError(f'data: expected categories of different names, got in {path} more than once: {listed(twice)}')
        given = class_list(spec)
        if given is not None:
            found = _by_hand(given, found, path, bool(spec['metainfo'].get('subset')))
        if source is None:
            names, source = found, path
        elif found != names:
            raise InputError(f'data: expected the same classes in both files, got {_both(names, source, found, path)}')
    kind = component(next(iter(specs.values())).get('type'), cfg.get('default_scope'))
    if tuple(kind.METAINFO.get('classes', ())) != names:
        from mmdet.visualization.palette import get_palette

        palette = [tuple(int(v) for v in colour) for colour in get_palette('random', len(names))]
        for spec in specs.values():
            meta = spec.get('metainfo') or {}
            spec['metainfo'] = dict(palette=palette) | dict(meta) | dict(classes=names)
    return names


def _by_hand(given: tuple[str, ...], found: tuple[str, ...], path: Path, subset: bool) -> tuple[str, ...]:
    if given == found or (subset and given == tuple(name for name in found if name in given)):
        return given
    raise InputError(
        f'metainfo.classes: expected the classes of {path} in its order, got {_both(given, "the config", found, path)}; '
        'leave metainfo out to take them from the file, or add metainfo.subset=True to train on a part of them'
    )


def _both(one: tuple[str, ...], one_from: Any, other: tuple[str, ...], other_from: Any) -> str:
    """Both lists, and what only one of them has."""
    rows = [f'{len(names)} in {place}: {listed(names)}' for names, place in ((one, one_from), (other, other_from))]
    only = [
        f'only in {place}: {listed(rest)}'
        for rest, place in (([n for n in one if n not in other], one_from), ([n for n in other if n not in one], other_from))
        if rest
    ]
    return '; '.join([*rows, *(only or ['the order differs'])])


def _settle_heads(cfg: Config, classes: tuple[str, ...], path: Path, overrides: Mapping[str, Any]) -> str:
    """The number of classes into every head that has one."""
    count = len(classes)
    for key, value in overrides.items():
        if key.split('.')[-1] in ('num_classes', 'num_things_classes') and value != count:
            raise InputError(f'{key}: expected {count}, the classes of {path} ({listed(classes)}); got {value}; leave it out')
    heads = [node for node in dicts(cfg.get('model', {})) if node.get('num_classes') is not None]
    for node in [*heads, *([cfg._cfg_dict] if cfg.get('num_classes') is not None else [])]:
        if node['num_classes'] not in (count, COCO_CLASSES):
            where = f'model: {node["type"]}.num_classes' if 'type' in node else 'num_classes'
            raise InputError(
                f'{where}: expected {count}, the classes of {path} ({listed(classes)}); got {node["num_classes"]}; '
                'leave it out to take the number from the file'
            )
        node['num_classes'] = count
    for node in dicts(cfg.get('model', {})):
        if node.get('num_things_classes', count) != count:
            raise InputError(
                f'model: {node.get("type")}.num_things_classes: expected {count}, the classes of {path}; '
                f'got {node["num_things_classes"]}; set it, and class_weight with it, in the config'
            )
    return f'classes: {count} from {path} ({listed(classes)}) in {len(heads)} heads'
