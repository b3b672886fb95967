"""Point a config's COCO data sets at their files, and give every head the classes that the files name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from convnext_dense.data.check_coco import filters, left_out
from convnext_dense.data.coco import (
    both,
    class_list,
    class_names,
    coco_files,
    find_annotations,
    find_images,
    is_coco_class,
    parts,
    read_coco,
)
from convnext_dense.errors import InputError
from convnext_dense.run.nodes import component, dicts, leaves
from convnext_dense.run.overrides import check_once
from convnext_dense.text import listed

COCO_CLASSES = 80  # of the published recipes: heads left at it take the number of the data
# Parts whose classes are not the data's: an RPN tells objects from ground, HTC's and SCNet's semantic heads label stuff too.
OTHER_CLASSES = ('rpn_head', 'semantic_head')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def dataset_specs(cfg: Config, name: str) -> list[ConfigDict]:
    """The data sets under `cfg.{name}`, out of ConcatDataset, RepeatDataset and their like."""
    loader = cfg.get(name)
    found = parts(loader.get('dataset')) if isinstance(loader, dict) else []
    return [spec for _, spec in found if isinstance(spec, dict)]  # anything else is refused when it is built


def is_coco(cfg: Config, spec: Mapping[str, Any]) -> bool:
    """Whether the data set is mmdet's CocoDataset or a subclass."""
    return is_coco_class(component(spec.get('type'), cfg.get('default_scope')))


def settle_coco(
    cfg: Config,
    names: tuple[str, ...],
    train_ann: str | None = None,
    val_ann: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[str]:
    """Settle files, classes, heads and evaluators for the data sets under `names`; the lines say what was found.

    The classes are those of the first data set's file, and must be those of all others, joined ones too. A class list in the
    config (`metainfo.classes`) must equal them, and so must the number of classes that a head or an override names.

    Raises:
        InputError: for a missing file, classes that differ, or an annotation file given to another kind of data set.
    """
    if train_ann and 'train_dataloader' not in names:
        raise InputError('--train-ann: expected by training alone; pass the file to test on as --val-ann')
    _check_given_once(train_ann, val_ann, overrides)
    lines: list[str | None] = []
    specs: dict[str, list[ConfigDict]] = {}
    for name in LOADERS:
        found = dataset_specs(cfg, name)
        specs[name] = [spec for spec in found if is_coco(cfg, spec)]
        option, ann = ('--train-ann', train_ann) if name == 'train_dataloader' else ('--val-ann', val_ann)
        if ann and found and not specs[name]:
            raise InputError(f'{option}: expected a COCO data set in the config, got {found[0].get("type")}; leave it out')
        if ann and len(specs[name]) > 1 and name in names:
            raise InputError(
                f'{option}: expected one COCO data set in {name}, got {len(specs[name])}; leave it out and set ann_file of each'
            )
        if name in names:
            for spec in specs[name]:
                lines.append(_settle_files(name, spec, ann))
                _check_images(name, spec, overrides)
        elif ann and len(specs[name]) == 1:
            specs[name][0]['ann_file'] = ann
    settled = [spec for name in names for spec in specs.get(name, ())]
    if not settled:
        return []
    classes = _settle_classes(cfg, settled)
    lines.append(_settle_heads(cfg, classes, coco_files(settled[0]).annotations, overrides or {}))
    for name in ('val', 'test'):
        files = {str(coco_files(spec).annotations) for spec in specs[f'{name}_dataloader']}
        for node in dicts(cfg.get(f'{name}_evaluator') or {}):
            if len(files) == 1 and 'ann_file' in node:
                if f'{name}_dataloader' in names:
                    _check_evaluator(f'{name}_evaluator', node['ann_file'], specs[f'{name}_dataloader'][0], overrides)
                node['ann_file'] = next(iter(files))
            elif len(files) > 1 and str(node.get('ann_file')) in files:
                raise InputError(
                    f'{name}_evaluator.ann_file: expected a file with the images of all {len(files)} data sets of '
                    f'{name}_dataloader, got {node["ann_file"]} of one; join the files'
                )
    for spec in specs['train_dataloader'] if 'train_dataloader' in names else ():
        lines.append(left_out(coco_files(spec).annotations, *filters(spec), classes))
    return [line for line in dict.fromkeys(lines) if line]


def _check_given_once(train_ann: str | None, val_ann: str | None, overrides: Mapping[str, Any] | None) -> None:
    for option, ann, loaders in (('--train-ann', train_ann, LOADERS[:1]), ('--val-ann', val_ann, LOADERS[1:])):
        if ann:
            check_once(option, overrides, partial(_is_ann_file, loaders))


def _is_ann_file(loaders: tuple[str, ...], key: str) -> bool:
    return key.startswith(loaders) and key.endswith('.ann_file')


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


def _settle_classes(cfg: Config, specs: Sequence[ConfigDict]) -> tuple[str, ...]:
    """The classes of the first file, set in every data set; those that the config names must be the same."""
    names: tuple[str, ...] = ()
    source = None
    for spec in specs:
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
            raise InputError(f'data: expected the same classes in all files, got {both(names, source, found, path)}')
    dataset_classes = [component(spec.get('type'), cfg.get('default_scope')) for spec in specs]
    if any(tuple(cls.METAINFO.get('classes', ())) != names for cls in dataset_classes):
        from mmdet.visualization.palette import get_palette

        palette = [tuple(int(v) for v in colour) for colour in get_palette('random', len(names))]
        palette = next((spec['metainfo']['palette'] for spec in specs if (spec.get('metainfo') or {}).get('palette')), palette)
        for spec in specs:
            meta = spec.get('metainfo') or {}
            spec['metainfo'] = dict(palette=palette) | dict(meta) | dict(classes=names)
    return names


def _by_hand(given: tuple[str, ...], found: tuple[str, ...], path: Path, subset: bool) -> tuple[str, ...]:
    if given == found or (subset and given == tuple(name for name in found if name in given)):
        return given
    raise InputError(
        f'metainfo.classes: expected the classes of {path} in its order, got {both(given, "the config", found, path)}; '
        'leave metainfo out to take them from the file, or add metainfo.subset=True to train on a part of them'
    )


def _of_the_data(path: str) -> bool:
    """Whether the classes at this place of the model are those of the data."""
    return not set(OTHER_CLASSES) & set(path.split('.'))


def _settle_heads(cfg: Config, classes: tuple[str, ...], path: Path, overrides: Mapping[str, Any]) -> str:
    """The number of classes into every head that has one and classifies the data's classes."""
    count = len(classes)
    for key, value in overrides.items():
        if _of_the_data(key) and key.split('.')[-1] in ('num_classes', 'num_things_classes') and value != count:
            raise InputError(f'{key}: expected {count}, the classes of {path} ({listed(classes)}); got {value}; leave it out')
    nodes = [node for path, node in leaves(cfg.get('model', {})) if _of_the_data(path)]
    heads = [node for node in nodes if isinstance(node, dict) and node.get('num_classes') is not None]
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
