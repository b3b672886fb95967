"""`--data DIR`: a folder of any layout in place of a recipe's data set, with its classes in every head."""

from __future__ import annotations

import atexit
import copy
import os
import re
import shutil
import sys
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.progress import Progress

from convnext_dense.data.channel_stats import channel_stats
from convnext_dense.data.check_ignored import heads
from convnext_dense.data.coco import MEND
from convnext_dense.data.layouts.choose_classes import (
    choose,
    ignore,
    in_order_of,
    merge,
    with_background,
)
from convnext_dense.data.layouts.found import BACKGROUND, IGNORE, Faults, Found, Picture, of_channels
from convnext_dense.data.layouts.index import read as read_record
from convnext_dense.data.layouts.index import write
from convnext_dense.data.layouts.mask_values import Told
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.data.layouts.split import split
from convnext_dense.data.pipeline import steps
from convnext_dense.errors import InputError
from convnext_dense.run.channels import settle_channels
from convnext_dense.run.nodes import dicts
from convnext_dense.run.own_options import INSTANCE, SEMANTIC
from convnext_dense.text import listed

LOADERS = dict(train='train_dataloader', val='val_dataloader', test='test_dataloader')
MOST_CLASSES = 254  # of pixels, beside the background: masks are bytes, and 255 is none


@dataclass
class OwnData:
    """What was read, and the records of its splits in `folder`, which is a temporary one until the run starts."""

    found: Found
    parts: dict[str, list[Picture]]
    folder: Path
    task: str
    lines: list[str] = field(default_factory=list)

    @contextmanager
    def named(self) -> Iterator[None]:
        """An error about a record, which nobody wrote and which will be gone, as one about the folder and its pictures."""
        try:
            yield
        except InputError as error:
            text = str(error)
            for part, pictures in self.parts.items():
                record = str(self.folder / f'{part}.json')
                if record in text:
                    text = re.sub(r'\(image (\d+)\)', partial(_pictures_name, pictures), text)
                    text = text.replace(record, f'{self.found.root} ({part})').replace(MEND, 'mend it there')
            raise InputError(text) from error

    def keep(self, cfg: Config, folder: str) -> None:
        """The records in `folder`, for good, and the config's paths to them."""
        place = Path(os.path.abspath(folder))
        if place == self.folder:
            return
        place.mkdir(parents=True, exist_ok=True)
        for part in self.parts:
            write(self.found, self.parts[part], place / f'{part}.json')
        for node in dicts(cfg):
            if isinstance(node.get('ann_file'), str) and Path(node['ann_file']).parent == self.folder:
                node['ann_file'] = str(place / Path(node['ann_file']).name)
        self.folder = place


def _pictures_name(pictures: Sequence[Picture], found: re.Match[str]) -> str:
    number = int(found[1])
    return f'({pictures[number].name})' if number < len(pictures) else found[0]


def settle_own_data(
    cfg: Config,
    args: Namespace,
    folder: str | None = None,
    trained: Sequence[str] | None = None,
    testing: bool = False,
) -> OwnData:
    """Point the config's loaders, heads and evaluators at `args.data`.

    Args:
        folder: where a run that is resumed has the records of its splits.
        trained: the classes of the model that is tested.
        testing: whether it is tested: then what validates in training.

    Raises:
        InputError: for what cannot be read, and annotations that are not of the recipe's kind.
    """
    task = task_of(cfg)
    if getattr(args, 'resume', None) and folder is not None:
        return _as_recorded(cfg, args, folder, task)
    if args.task not in (None, task):
        raise InputError(f'--task {args.task}: expected {task}, as the recipe {args.config} learns; name another recipe')
    with reading() as told:
        found = read(args, told)
        found = as_in_training(found, cfg) if testing and task == SEMANTIC else found
        found = prepared(found, args, task, trained)
    parts, how = chosen_split(args, found, testing, training=not testing)
    place = Path(tempfile.mkdtemp(prefix='convnext_dense_data_'))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    own = OwnData(found, parts, place, task, lines(found, parts, how))
    for name, pictures in parts.items():
        write(found, pictures, own.folder / f'{name}.json')
    _settle(cfg, args, own)
    return own


def as_in_training(found: Found, cfg: Config) -> Found:
    """Mask values as the model was trained on them: a few masks alone may not tell whether they count from 0 or 1."""
    step = next((one for one in steps(cfg.get('test_dataloader')) if one.get('type') == 'LoadFolderAnnotations'), {})
    values = found.values
    if values is None or not step.get('values') or bool(step.get('colours')) != values.colours:
        return found
    meaning = {int(v): int(i) for v, i in step['values']}
    same = max((i for i in meaning.values() if i != IGNORE), default=-1) < len(found.classes)
    if not same or not values.seen <= meaning.keys() or meaning == values.classes:
        return found
    note = 'the values of the masks mean what they did in training'
    return replace(found, values=replace(values, classes=meaning), notes=[*found.notes, note])


def _as_recorded(cfg: Config, args: Namespace, folder: str, task: str) -> OwnData:
    """The data that the run began with, whatever came into the folder since."""
    for name in ('layout', 'task', 'classes', 'merge', 'ignore', 'group_by'):
        if getattr(args, name) and not getattr(args, 'restarts', False):  # a restart loop says again what the run began with
            option = f'--{name.replace("_", "-")}'
            raise InputError(f'{option}: expected --resume without it, which goes on with the data as recorded in {folder}')
    found, parts = read_record(Path(folder))
    line = f'data: as recorded in {folder} when the run began: {_counts(parts)}; {args.data} is not read again'
    own = OwnData(found, parts, Path(os.path.abspath(folder)), task, [line])
    _settle(cfg, args, own)
    return own


def _settle(cfg: Config, args: Namespace, own: OwnData) -> None:
    _check_overrides(args, len(own.found.classes))
    _settle_loaders(cfg, own)
    if own.task == SEMANTIC:
        _settle_segmentor(cfg, own)
    else:
        _settle_detector(cfg, own)


def _counts(parts: dict[str, list[Picture]]) -> str:
    return ', '.join(f'{len(pictures)} {name}' for name, pictures in parts.items() if pictures)


def read(args: Namespace, told: Told | None, collect: bool = False) -> Found:
    """The folder that the options name; `collect`: faults in masks are listed instead of stopping at them."""
    with of_channels(getattr(args, 'channels', None)):
        return read_folder(args.data, args.layout, told, Faults(collect, frozenset(args.ignore)))


def chosen_split(
    args: Namespace, found: Found, testing: bool = False, training: bool = False
) -> tuple[dict[str, list[Picture]], str]:
    """The splits by the options, and how they came about; in testing, what validates is tested, or all by --val-share 1."""
    named = any(picture.split for picture in found.pictures)
    if testing and args.val_share == 1:
        return dict(test=list(found.pictures)), 'all of it is tested'
    parts, how = split(found, args.val_share, args.group_by, training)
    if testing and not named:
        return parts, f'{how}; these are tested, as in training (--val-share 1 tests all, training pictures too)'
    return parts, how


def task_of(cfg: Config) -> str:
    return SEMANTIC if isinstance(cfg.get('model'), dict) and 'decode_head' in cfg.model else INSTANCE


def prepared(found: Found, args: Namespace, task: str, trained: Sequence[str] | None = None) -> Found:
    """What was found, for a task: the classes that are learnt, and what is no object."""
    if task == SEMANTIC and found.values is None and not found.outlined:
        raise InputError(
            f'--data: expected outlines or masks for the classes of pixels, got boxes in {found.root} ({found.layout}); '
            'name a detection recipe, or export polygons'
        )
    if task == INSTANCE and found.values is not None and not any(picture.objects for picture in found.pictures):
        raise InputError(
            f'--data: expected objects, got masks of classes in {found.root} ({found.layout}), which do not tell objects '
            'apart; name an UperNet recipe, or export objects'
        )
    if task == SEMANTIC and found.values is not None:
        left = [picture for picture in found.pictures if picture.mask is not None]
        if len(left) < len(found.pictures):
            found.notes.append(f'{len(found.pictures) - len(left)} pictures without a mask are left out')
            found.pictures = left
    if task == INSTANCE:
        found.values = None
    elif len(found.classes) > MOST_CLASSES:
        raise InputError(
            f'--data: expected up to {MOST_CLASSES} classes of pixels, got {len(found.classes)}; --classes takes some'
        )
    no_ground = BACKGROUND in args.ignore or (trained is not None and BACKGROUND not in trained)
    found = with_background(found, no_ground) if task == SEMANTIC else found
    found = merge(ignore(found, args.ignore), args.merge)
    chosen = [name.strip() for name in args.classes.split(',') if name.strip()] if args.classes else None
    found = choose(found, chosen)
    return found if trained is None else in_order_of(found, trained)


def lines(found: Found, parts: dict[str, list[Picture]], how: str) -> list[str]:
    """What a folder was taken for, and why, in the order that a reader asks."""
    head = (
        f'data: {found.root} is {found.layout} (by {found.why}): {len(found.pictures)} pictures ({_counts(parts)}), '
        f'{len(found.classes)} classes ({listed(found.classes)})'
    )
    empty = sum(not picture.objects for picture in found.pictures) if found.values is None else 0
    without = [f'{empty} of {len(found.pictures)} pictures have no object'] if empty else []
    return [head, *(f'data: {line}' for line in (how, *found.notes, *without))]


@contextmanager
def reading(name: str = 'reading masks') -> Iterator[Told | None]:
    """A progress bar of the files that are read, on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with Progress(transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def channel_lines(cfg: Config, own: OwnData, args: Namespace) -> list[str]:
    """Set the config to `args.channels`, by measured or given statistics; lines for the log.

    Raises:
        InputError: for pictures of another number of channels, and statistics that are none.
    """
    if args.channels is None:
        return []
    if args.mean is not None:
        mean, std, line = args.mean, args.std, 'statistics: as given by --mean and --std'
    else:
        with reading('reading channels') as told:
            mean, std, line = channel_stats([str(picture.path) for picture in own.parts['train']], args.channels, told)
    return [line, settle_channels(cfg, args.channels, mean, std)]


def _check_overrides(args: Namespace, count: int) -> None:
    for key, value in (args.cfg_options or {}).items():
        if key.startswith('model.') and key.endswith('.num_classes') and value != count and 'rpn_head' not in key:
            raise InputError(f'--cfg-options {key}: expected {count}, the classes of {args.data}; got {value}; leave it out')


def _settle_loaders(cfg: Config, own: OwnData) -> None:
    """The splits' data sets in the recipe's loaders, with their pipelines; without a test split, validation's."""
    kind = dict(type='FolderDataset') if own.task == SEMANTIC else dict(type='CocoDataset')
    for name, loader in LOADERS.items():
        node = cfg.get(loader)
        part = name if own.parts.get(name) else 'val' if own.parts.get('val') else 'test'
        if not isinstance(node, dict) or not own.parts.get(part):
            continue
        old = next((step for step in steps(node.get('dataset')) if 'pipeline' in step), None)
        if old is None:
            raise InputError(f'{loader}: expected a data set with a pipeline in the recipe, got none; see a recipe')
        spec: dict[str, Any] = dict(kind, data_root=str(own.found.root), ann_file=str(own.folder / f'{part}.json'))
        spec['pipeline'] = copy.deepcopy(old['pipeline'])
        if own.task == INSTANCE:
            spec['data_prefix'] = dict(img=str(own.found.root))
            spec |= {key: old[key] for key in ('filter_cfg', 'test_mode') if key in old}
            if name == 'train':
                spec['filter_cfg'] = dict(old.get('filter_cfg') or {}, filter_empty_gt=True)
        else:
            spec['metainfo'] = dict(classes=list(own.found.classes))
        node['dataset'] = spec


def _settle_segmentor(cfg: Config, own: OwnData) -> None:
    found = own.found
    for _, head in heads(cfg):
        head['num_classes'] = len(found.classes)
    options: dict[str, Any] = dict(type='LoadFolderAnnotations')
    if found.values is not None:
        options |= dict(values=[list(pair) for pair in sorted(found.values.classes.items())], colours=found.values.colours)
    else:
        options['background'] = found.ground
    for part in (*LOADERS.values(), 'tta_pipeline'):
        for step in list(dicts(cfg.get(part) or {})):
            if step.get('type') in ('LoadAnnotations', 'LoadFolderAnnotations'):
                for key in list(step):
                    del step[key]
                step.update(copy.deepcopy(options))


def _settle_detector(cfg: Config, own: OwnData) -> None:
    """Classes are settled with the files (`settle_coco`); objects without outlines leave the mask head out."""
    for loader, evaluator in (('val_dataloader', 'val_evaluator'), ('test_dataloader', 'test_evaluator')):
        for node in dicts(cfg.get(evaluator) or {}):
            if 'ann_file' in node and cfg.get(loader):
                node['ann_file'] = cfg[loader]['dataset']['ann_file']
    if own.found.outlined:
        return
    count = Counter(one.outline is None for picture in own.found.pictures for one in picture.objects)
    head = cfg.model.get('roi_head')
    if not isinstance(head, dict):
        return
    head['mask_head'] = head['mask_roi_extractor'] = None
    for part in LOADERS.values():
        for step in dicts(cfg.get(part) or {}):
            if step.get('with_mask'):
                step['with_mask'] = False
    for evaluator in ('val_evaluator', 'test_evaluator'):
        for node in dicts(cfg.get(evaluator) or {}):
            if 'segm' in (node.get('metric') or ()):
                node['metric'] = ['bbox']
    some = f'{count[True]} of {count.total()}' if count[False] else 'the'
    own.lines.append(f'data: {some} objects have no outline: boxes alone are learnt, the mask head is left out')
