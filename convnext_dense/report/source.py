"""What data a model was trained and tested on, and the command that gives its numbers."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.config import Config

from convnext_dense.data.check import data_sets
from convnext_dense.report.card import Source
from convnext_dense.report.evaluate import asked_for
from convnext_dense.report.evaluated import About
from convnext_dense.run.own_options import SHARE

SPLITS = ('validation', 'val', 'test', 'training', 'train')
PARTS = (*SPLITS, 'images', 'annotations')  # folders: no names of data sets


def source_of(about: About, cfg: Config, work_dir: Path, args: Namespace) -> Source:
    """Of an evaluated model.

    Args:
        about: with the pictures it was tested on.
        cfg: of its training.
        work_dir: of its run.
        args: the command's; `data_name` is what the data of the training is called, None for its folder's name.
    """
    folders = Path(about.pictures[0]).parent.parts[1:]
    tested = _name(folders)
    trained = next((name for name in (_name(folder.parts) for folder in _trained(cfg)) if name), tested)
    split = next((part for part in reversed(folders) if part.lower() in SPLITS), 'test')
    called = args.data_name or trained or 'the data'
    return Source(called, called if tested == trained else tested or 'other data', split, command(work_dir, args))


def _name(folders: Iterable[str]) -> str:
    """The folder that holds the splits; '' where there is none."""
    return next((part for part in reversed(tuple(folders)) if part.lower() not in PARTS and part != '/'), '')


def _trained(cfg: Config) -> list[Path]:
    """Folders of the training data."""
    found = []
    for _, spec in data_sets(cfg, 'train_dataloader'):
        prefix = spec.get('data_prefix') or {}
        images = prefix.get('img_path') or prefix.get('img') or '' if isinstance(prefix, dict) else ''
        found.append(Path(spec.get('data_root') or '', str(images)))
    return found


def command(work_dir: Path, args: Namespace) -> str:
    """The command line that makes the report, with the options that say what is tested."""
    words = ['convnext-dense', 'report', str(work_dir)]
    if args.checkpoint:
        words += ['--checkpoint', args.checkpoint]
    for name, value in asked_for(args).items():
        if name != 'val_share' or value != SHARE:
            words += [f'--{name.replace("_", "-")}', *map(_word, value if isinstance(value, list) else [value])]
    return shlex.join(words)


def _word(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)
