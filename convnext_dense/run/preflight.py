"""Checks before the first step: everything here runs before a work directory is made, so that a wrong input leaves nothing."""

from __future__ import annotations

import copy
import inspect
import os
import re
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import METRICS, MODELS, DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convnext_dense.errors import InputError, last_line, reason
from convnext_dense.models.convnext import ConvNeXt
from convnext_dense.models.init_cfg import split_init_cfg
from convnext_dense.models.isotropic import IsotropicConvNeXt, SimplePyramid
from convnext_dense.models.pyramid import Pretrainable
from convnext_dense.models.roadmap import RoadmapNet
from convnext_dense.run.resume_state import check_resume
from convnext_dense.text import suggest
from convnext_dense.training.checkpoint_file import verify
from convnext_dense.training.last_good import Found, last_good, newest_good
from convnext_dense.weights.by_name import read_by_name
from convnext_dense.weights.fetch import resolve
from convnext_dense.weights.load import check_pretrained, check_whole_model, look_at_whole_model
from convnext_dense.weights.open import kind_of_path, shown
from convnext_dense.weights.read_once import forget
from convnext_dense.weights.stats import differs, expected_stats


def build_on_meta(cfg: Config) -> nn.Module:
    """The config's model without memory for its weights: shapes and names are real, values are not.

    Raises:
        InputError: if it cannot be built; also where a head's input channels are not the backbone's.
    """
    try:
        with warnings.catch_warnings(), DefaultScope.overwrite_default_scope(cfg.get('default_scope')), torch.device('meta'):
            warnings.simplefilter('ignore')  # of the libraries; the real build says them again
            model = MODELS.build(copy.deepcopy(cfg.model))
    except InputError:
        raise
    except Exception as error:  # of any class: the libraries check little of what they are given
        why = f'{type(error).__name__}: {last_line(error)}'
        raise InputError(f'model: cannot be built from this config: {why}{_near(last_line(error))}') from error
    if not isinstance(model, nn.Module):
        raise InputError(
            f'model: expected the type of a model, got {cfg.model.get("type")!r}, which makes a {type(model).__name__}'
        )
    backbone = getattr(model, 'backbone', None)
    if isinstance(backbone, Pretrainable):
        maps, neck = backbone.out_channels, getattr(model, 'neck', None)
        source = f'backbone.out_indices={backbone.out_indices}'
        _check_channels(maps, source, 'neck', neck)
        if neck is None or isinstance(neck, SimplePyramid):  # other necks' maps are not known
            if isinstance(neck, SimplePyramid):
                maps, source = (neck.out_channels,) * neck.num_outs, 'the neck'
            for name in ('decode_head', 'auxiliary_head'):
                _check_channels(maps, source, name, getattr(model, name, None))
    return model


def _near(words: str) -> str:
    """Of an error about an unexpected argument of the backbone: the nearest one that there is."""
    found = re.search(r"(\w+).__init__\(\) got an unexpected keyword argument '(\w+)'", words)
    own = {cls.__name__: cls for cls in (ConvNeXt, RoadmapNet, IsotropicConvNeXt, SimplePyramid)}
    if not found or found[1] not in own:
        return ''
    return f'; {suggest(found[2], inspect.signature(own[found[1]]).parameters)}'


def _check_channels(maps: Sequence[int], source: str, name: str, head: nn.Module | None) -> None:
    given = getattr(head, 'in_channels', None)
    index: Any = getattr(head, 'in_index', range(len(maps)))
    if given is None:
        return
    whole = isinstance(given, (list, tuple))
    indices = list(index) if isinstance(index, (list, tuple, range)) else [index]
    if whole != isinstance(index, (list, tuple, range)) or not all(isinstance(i, int) for i in indices):
        raise InputError(f'model.{name}: expected in_channels and in_index both numbers or both lists; got {given} and {index}')
    if any(i >= len(maps) for i in indices):
        raise InputError(
            f'model.{name}.in_index: expected indices below {len(maps)}, the number of maps of {source}; got {index}'
        )
    wanted = [maps[i] for i in index] if whole else maps[index]
    if (list(given) if whole else given) != wanted:
        part = source.partition('.')[0].removeprefix('the ')
        raise InputError(f'model.{name}.in_channels: expected {wanted}, the channels of the {part}; got {given}')


def check_evaluators(cfg: Config, *names: str) -> None:
    """Build each CocoStatsMetric under `cfg.{name}` once, so that a wrong argument stops here.

    The libraries' own metrics are left to the run: some read their annotation file when they are built.
    """
    for name in names:
        nodes = cfg.get(name) or []
        for node in nodes if isinstance(nodes, list) else [nodes]:
            if node.get('type') == 'CocoStatsMetric':
                with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
                    METRICS.build(copy.deepcopy(node))


def check_batch_norm(cfg: Config, model: nn.Module) -> None:
    """Stop where BatchNorm would see a single value per channel: one image per process and a map pooled to 1x1."""
    batch = cfg.train_dataloader.get('batch_size', 1)
    pooled = [name for name, module in model.named_modules() if 1 in tuple(getattr(module, 'pool_scales', None) or ())]
    for name in pooled:
        norms = [type(m).__name__ for m in model.get_submodule(name).modules() if isinstance(m, _BatchNorm)]
        if batch == 1 and norms and 'SyncBatchNorm' not in norms:
            raise InputError(
                f'train_dataloader.batch_size: expected 2 or more per process, got 1; {name} pools to 1x1 and its BatchNorm '
                'cannot train on one value per channel; set train_dataloader.batch_size=2'
            )


def check_weights(cfg: Config, model: nn.Module, classes: Sequence[str] | None = None, new_heads: bool = False) -> list[str]:
    """Stop where the file to load or resume from, or the backbone's pre-trained file, does not fit the model.

    `classes`, where the weights must have been trained on the data's own, as in testing and resuming. A URL to load from
    becomes its local copy. Lines for the log: what starts anew, what a resumed run keeps, and where the images are not
    normalised as the weights expect.
    """
    forget()
    if cfg.get('load_from'):
        given, cfg.load_from = cfg.load_from, resolve(cfg.load_from)  # which the runner opens
        fresh = check_whole_model(cfg.load_from, model, classes, new_heads, source=given)
        anew = [f'started anew (--new-heads): {", ".join(fresh)}'] if fresh else []
        return anew + (check_resume(look_at_whole_model(cfg.load_from), cfg, model) if cfg.get('resume') else [])
    lines: list[str | None] = []
    for backbone in (m for m in model.modules() if isinstance(m, Pretrainable)):
        _, options = split_init_cfg(backbone.init_cfg)
        if options is not None and not isinstance(backbone, ConvNeXt):
            read_by_name(backbone, **options)
        elif options is not None:
            pretrained = check_pretrained(backbone, **options)
            stats = expected_stats(pretrained.path, pretrained.state, pretrained.match.found)
            images: Any = cfg.model.get('data_preprocessor') or {}
            if stats and images.get('mean') and images.get('std'):
                lines.append(differs(stats, images.mean, images.std))
    return [line for line in lines if line]


def resolve_resume(resume: str | bool | None, work_dir: str, out_dir: str | None = None) -> tuple[str | None, list[str]]:
    """The checkpoint that `--resume [auto|FILE|DIR]` means, verified, and lines for the log; None where the run begins anew.

    `resume` is True for `--resume` alone. Where the last checkpoint is damaged, the newest whole one is taken. `out_dir` is
    that of mmengine's CheckpointHook, where it has one: checkpoints are in a folder there that is named as the work directory.

    Raises:
        InputError: if there is no whole one; for 'auto' only if there are some, none of which is whole. If FILE is not whole.
    """
    if resume is None or resume is False:
        return None, []
    if isinstance(resume, str) and resume != 'auto' and ('://' in resume or kind_of_path(resume) != 'folder'):
        return _whole_file(resume), []
    folder = resume if isinstance(resume, str) and resume != 'auto' else work_dir
    there = kind_of_path(folder) == 'folder'
    beside = os.path.join(out_dir, os.path.basename(os.path.normpath(folder))) if out_dir else None
    found = last_good(folder, beside) if there or beside else Found()
    path, lines = found.path, found.lines
    if resume == 'auto':
        if path is None and found.lost:
            raise InputError(
                f'--resume auto: expected a whole checkpoint of the run in {shown(folder)}, or none at all, found '
                f'{"; ".join(lines)}; a run from the beginning would write over them: mend or remove them, and '
                'last_checkpoint, or name another --work-dir'
            )
        what = f'goes on from {shown(path)}' if path else f'starts from the beginning, no checkpoint in {shown(folder)}'
        return path, [*lines, f'resume: {what}']
    if path is None:
        got = 'which is not there' if not there and not lines else f'found none{"".join(f"; {line}" for line in lines)}'
        raise InputError(
            f'--resume: expected a whole checkpoint in {shown(folder)}, {got}; name a file, or start without --resume '
            '(--resume auto starts from the beginning where there is none)'
        )
    return path, lines and [*lines, f'resume: goes on from {shown(path)}']


def _whole_file(path: str) -> str:
    """`path` itself, verified where it is a file."""
    if '://' in path:
        return path
    why = verify(path)
    if why is None:
        return path
    other = newest_good(os.path.dirname(os.path.abspath(path)), without=Path(path)).path
    instead = f'; the newest whole one beside it is {shown(other)}' if other else '; name another'
    raise InputError(f'--resume: expected a whole checkpoint, got {shown(path)}: {why}{instead}')


def last_checkpoint(path: str) -> str:
    """`path` itself if it is no folder, else the last checkpoint in it; with a warning the newest whole one, if none is named.

    Raises:
        InputError: if there is none in the folder.
    """
    if '://' in path or kind_of_path(path) != 'folder':
        return path
    try:
        latest = _named_checkpoint(path)
        why = '' if kind_of_path(latest) == 'file' else f'{shown(latest)} is not there'
    except InputError as error:
        latest, why = '', str(error)
    newest = newest_good(path).path if why else None
    if newest is not None:
        MMLogger.get_current_instance().warning(f'checkpoint: {newest} is taken, the newest whole one: {why}')
        return newest
    if not latest:
        raise InputError(why)
    return latest


def _named_checkpoint(path: str) -> str:
    """The file that `last_checkpoint` in the folder names, in this folder or, as seen from where training was started."""
    named = Path(path, 'last_checkpoint')
    there = kind_of_path(named)
    try:
        latest = named.read_text().strip() if there != 'nothing' else ''
    except (OSError, ValueError) as error:
        raise InputError(f'expected the path of a checkpoint in {shown(named)}, got: {reason(error)}; name a file') from error
    if there != 'nothing' and not latest:
        raise InputError(f'expected the path of a checkpoint in {shown(named)}, got an empty file; name a checkpoint')
    if not latest:
        raise InputError(f'expected a checkpoint in {shown(path)}, found none; name a file, or the work directory of a run')
    moved = os.path.join(path, os.path.basename(latest))  # written as seen from where training was started
    return moved if kind_of_path(moved) == 'file' else latest


def check_choices(args: Namespace) -> list[str]:
    """Stop at weights from two sources, of which one would be ignored. Lines for the log: what is not read."""
    if args.resume and args.resume != 'auto' and args.load_from:
        raise InputError(
            '--resume and --load-from: expected one of the two, got both; --resume brings its own weights (--resume auto may '
            'have both: what a run starts from where there is no checkpoint)'
        )
    if args.load_from and args.pretrained not in (None, 'none'):
        raise InputError(
            '--load-from and --pretrained: expected one of the two, got both; --load-from brings the weights of the backbone'
        )
    if args.new_heads and not args.load_from:
        raise InputError('--new-heads: expected --load-from FILE with it, whose heads have other classes')
    if args.resume and args.resume != 'auto' and args.pretrained not in (None, 'none'):
        return [f'--pretrained: {args.pretrained} is not read; --resume brings the weights of the checkpoint']
    return []
