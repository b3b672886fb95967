"""Command-line options and config files: reading, overriding, and one clear line for what is wrong."""

from __future__ import annotations

import argparse
import os
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from convnext_dense.errors import InputError, last_line
from convnext_dense.files import check_folder
from convnext_dense.recipes import find_recipe, recipes
from convnext_dense.run.heads import settle_heads
from convnext_dense.run.nodes import dicts, leaves, top_level
from convnext_dense.run.overrides import check_once, check_overrides
from convnext_dense.text import suggest


class Overrides(DictAction):
    """mmengine's KEY=VALUE action, with a line of its own for what is no pair."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        for pair in values:
            if not pair.partition('=')[1] or not pair.partition('=')[0]:
                raise InputError(f'--cfg-options: expected KEY=VALUE, got {pair!r}')
            try:
                super().__call__(parser, namespace, [pair], option_string)
            except (RecursionError, AssertionError, ValueError) as error:  # of mmengine's parser of lists and tuples
                raise InputError(f'--cfg-options: expected KEY=VALUE with a value, a,b or "[a,b]"; got {pair!r}') from error


def add_config_options(parser: argparse.ArgumentParser, needed: bool = True) -> None:
    """Options of every command that takes a config."""
    parser.add_argument('config', nargs=None if needed else '?', help='config file, or the name of a recipe')
    parser.add_argument('--data-root', metavar='DIR', help="the data set's folder, in place of the config's")
    parser.add_argument('--train-ann', metavar='FILE', help='COCO annotation file to train on, in the folder or elsewhere')
    parser.add_argument('--val-ann', metavar='FILE', help='COCO annotation file to validate and test on')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help='override config entries: model.backbone.drop_path_rate=0.1 key="[a,b]"; a key must exist',
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of the commands that run a model."""
    parser.add_argument('--work-dir', metavar='DIR', help='logs and checkpoints; default work_dirs/CONFIG_NAME')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--seed', type=seed, help='seed of every random generator')
    parser.add_argument(
        '--check-data', choices=['sample', 'all', 'off'], default='sample', help='scan of the data before the run'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def seed(text: str) -> int:
    """A seed that every random generator takes; NumPy's has 32 bits."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f'expected a whole number from 0 to {2**32 - 1}, got {text!r}')
    return int(text)


def load_config(path: str, overrides: dict[str, Any] | None = None, data_root: str | None = None) -> Config:
    """A config file, or the recipe of that name, with the command line's overrides.

    Raises:
        InputError: for a missing or broken file and for an override of a key that the config does not have.
    """
    if not isinstance(path, (str, Path)):
        raise InputError(f'config: expected the path of a file, got {path!r}; name one')
    path = _file_of(os.fspath(path))
    try:
        cfg = Config.fromfile(path)
        list(leaves(cfg._cfg_dict))  # what a config of the new style imports is imported when it is first looked at
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # it is a program
        raise InputError(f'config {path} cannot be read: {type(error).__name__}: {last_line(error)}') from error
    _check_names(cfg, path)
    _check_scope(cfg, path)
    check_overrides(cfg, overrides or {})
    try:
        cfg.merge_from_dict(overrides or {})
    except Exception as error:  # two keys of which one lies in the other, an index into a tuple
        raise InputError(f'--cfg-options: {type(error).__name__}: {last_line(error)}; give each entry once') from error
    if 'default_scope' in (overrides or {}):
        _check_scope(cfg, '--cfg-options default_scope')
    if data_root is not None:
        if '://' in data_root:
            raise InputError(f'--data-root: expected a local folder, got {data_root}; copy the data and name its folder')
        check_once('--data-root', overrides, lambda key: key.split('.')[-1] == 'data_root')
        set_data_root(cfg, data_root)
    settle_heads(cfg)
    return cfg


def _file_of(path: str) -> str:
    """The file that is meant: `path`, or the recipe of that name where no such file is in the current folder."""
    if Path(path).is_file():
        return path
    recipe, own = find_recipe(path), Path(f'{path}.py')
    if recipe is not None and own.is_file() and not own.samefile(recipe):
        raise InputError(f'config: {path} is a recipe, and {own} is in this folder; write {own} for the file, or rename it')
    if recipe is not None:
        return str(recipe)
    alone = os.path.basename(path) == path
    near = sorted(p.name for p in Path(path).parent.glob('*.py')) if Path(path).parent.is_dir() else []
    hint = suggest(Path(path).name, [*near, *(recipes() if alone else ())]) if near or alone else 'check the path'
    expected = 'a file or the name of a recipe' if alone else 'a file'
    what = 'a folder' if Path(path).is_dir() else 'not there'
    raise InputError(f'config: expected {expected}, got {path} which is {what}; {hint}')


def _check_names(cfg: Config, path: str) -> None:
    """Stop at an entry whose name is nearly one of the runner's, which would go unread."""
    known = top_level()
    for key in cfg:
        near = get_close_matches(key, known, n=1, cutoff=0.9) if key not in known and len(key) > 7 else []
        if near:  # of names as short as `models`, one letter says less
            raise InputError(f'config {path}: {key} is read by nothing; did you mean {near[0]!r}? Or give it another name')


def _check_scope(cfg: Config, where: str) -> None:
    """Stop where the registries that `default_scope` names are not there."""
    scope = cfg.get('default_scope')
    if scope is None:
        return
    if not isinstance(scope, str) or not scope.isidentifier():
        raise InputError(f'{where}: expected default_scope to be the name of a package, as mmseg or mmdet; got {scope!r}')
    try:
        import_module(f'{scope}.registry')
    except ImportError as error:
        raise InputError(
            f'{where}: expected default_scope to be a package with registries, as mmseg or mmdet; got {scope!r} ({error})'
        ) from error


def set_data_root(cfg: Config, data_root: str) -> None:
    """Point every data set of the config at `data_root`."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for node in dicts(cfg.get(name, {})):
            if 'data_root' in node:
                node['data_root'] = data_root
    if 'data_root' in cfg:
        cfg.data_root = data_root


def set_work_dir(cfg: Config, config_path: str, work_dir: str | None, overrides: dict[str, Any] | None = None) -> None:
    """`--work-dir`, or the config's, or work_dirs/CONFIG_NAME."""
    if work_dir is not None:
        check_once('--work-dir', overrides, lambda key: key == 'work_dir')
    elif not isinstance(cfg.get('work_dir', ''), (str, type(None))):
        raise InputError(f'work_dir: expected the path of a folder, got {cfg.work_dir!r}')
    cfg.work_dir = work_dir or cfg.get('work_dir') or os.path.join('work_dirs', Path(config_path).stem)
    check_folder('--work-dir', cfg.work_dir)
