"""Command-line options and config files: reading, overriding, and one clear line for what is wrong."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import root as registries
from mmengine.registry.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from convnext_dense.errors import InputError
from convnext_dense.text import suggest
from convnext_dense.training.layer_decay import OPTIONS as PARAMWISE_OPTIONS

FREE = ('custom_keys', 'metainfo')  # dicts whose keys the user chooses
LOADER_KEYS = ('dataset', 'sampler', 'batch_sampler', 'collate_fn')


def exit_with_line(main: Callable[[], None]) -> None:
    """Run a tool; wrong input ends it with one line on stderr and exit status 2."""
    try:
        main()
    except InputError as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        sys.exit(2)


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


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Options of every tool that takes a config."""
    parser.add_argument('config', help='config file')
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
    """Options of the tools that run a model."""
    parser.add_argument('--work-dir', metavar='DIR', help='logs and checkpoints; default work_dirs/CONFIG_NAME')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--seed', type=int, help='seed of every random generator')
    parser.add_argument(
        '--check-data', choices=['sample', 'all', 'off'], default='sample', help='scan of the data before the run'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(path: str, overrides: dict[str, Any] | None = None, data_root: str | None = None) -> Config:
    """A config file with the command line's overrides.

    Raises:
        InputError: for a missing or broken file and for an override of a key that the config does not have.
    """
    if not Path(path).is_file():
        near = sorted(p.name for p in Path(path).parent.glob('*.py')) if Path(path).parent.is_dir() else []
        hint = suggest(Path(path).name, near) if near else 'check the path'
        raise InputError(f'config: expected a file, got {path} which is not there; {hint}')
    try:
        cfg = Config.fromfile(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error
    check_overrides(cfg, overrides or {})
    try:
        cfg.merge_from_dict(overrides or {})
    except (KeyError, TypeError) as error:
        raise InputError(f'--cfg-options: {error}') from error
    if data_root is not None:
        set_data_root(cfg, data_root)
    return cfg


def check_overrides(cfg: Config, overrides: dict[str, Any]) -> None:
    """Stop at an override whose key neither the config has nor the component at that place takes, or of another kind."""
    for dotted, value in overrides.items():
        _check_override(cfg, dotted, value)


def _check_override(cfg: Config, dotted: str, value: Any) -> None:
    node: Any = cfg._cfg_dict
    parts = dotted.split('.')
    for depth, part in enumerate(parts):
        above = '.'.join(parts[:depth])
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                raise InputError(f'--cfg-options {dotted}: {above} is a list of {len(node)}; expected an index below that')
            node = node[int(part)]
        elif isinstance(node, dict):
            if part not in node:
                known = set(node) | _accepted(node, parts[depth - 1] if depth else None, cfg.get('default_scope'))
                if part in known or (depth and parts[depth - 1] in FREE):
                    return
                near = suggest(part, known)
                raise InputError(f'--cfg-options {dotted}: {above or "the config"} has no key {part!r}; {near}')
            node = node[part]
        else:
            raise InputError(f'--cfg-options {dotted}: {above} is the value {node!r}, it has no keys')
    number = isinstance(node, (int, float)) and not isinstance(node, bool)
    if number and isinstance(value, str):
        raise InputError(f'--cfg-options {dotted}: expected a number, as {node}; got {value!r}')
    if isinstance(node, dict) and value is not None and not isinstance(value, dict):
        raise InputError(f'--cfg-options {dotted}: expected one of its keys ({", ".join(node)}), got {value!r} for the whole')


def _accepted(node: dict[str, Any], name: str | None, scope: str | None) -> set[str]:
    """Keys that the component described by `node`, found under `name`, would take."""
    if name is None:
        return set(inspect.signature(Runner.__init__).parameters) - {'self'} | {'auto_scale_lr', 'find_unused_parameters'}
    if name.endswith('_dataloader'):
        return set(inspect.signature(DataLoader.__init__).parameters) - {'self'} | set(LOADER_KEYS)
    if name == 'paramwise_cfg':
        return set(PARAMWISE_OPTIONS)
    kind = component(node.get('type'), scope)
    keys = {'constructor', 'paramwise_cfg', 'optimizer'} if name == 'optim_wrapper' else set()
    if inspect.isclass(kind):
        for base in kind.__mro__:
            if '__init__' in vars(base):
                keys |= set(inspect.signature(base.__init__).parameters)
    return keys - {'self', 'args', 'kwargs'}


def component(kind: Any, scope: str | None = None) -> Any:
    """The class behind a config's `type`, from whichever registry of `scope` or mmengine has it; None if there is none."""
    if not isinstance(kind, str):
        return kind
    if scope is not None:
        import_module(f'{scope}.registry')
    for root in vars(registries).values():
        if isinstance(root, Registry):
            found = root.children.get(scope, root).get(kind)
            if found is not None:
                return found
    return None


def dicts(node: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a config, outermost first."""
    if isinstance(node, Config):
        node = node._cfg_dict
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from dicts(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from dicts(value)


def set_data_root(cfg: Config, data_root: str) -> None:
    """Point every data set of the config at `data_root`."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for node in dicts(cfg.get(name, {})):
            if 'data_root' in node:
                node['data_root'] = data_root
    if 'data_root' in cfg:
        cfg.data_root = data_root


def set_work_dir(cfg: Config, config_path: str, work_dir: str | None) -> None:
    """`--work-dir`, or the config's, or work_dirs/CONFIG_NAME."""
    cfg.work_dir = work_dir or cfg.get('work_dir') or os.path.join('work_dirs', Path(config_path).stem)
    check_folder('--work-dir', cfg.work_dir)


def check_folder(option: str, folder: str) -> None:
    """Stop where a folder to write into is a file, or lies in one."""
    for path in (Path(folder), *Path(folder).parents):
        if path.exists():
            if not path.is_dir():
                raise InputError(f'{option}: expected a folder, got {folder}, where {path} is a file; name another')
            return
