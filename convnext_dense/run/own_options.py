"""Options of the commands that take a folder of any layout."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import Any

from mmengine.config import Config

from convnext_dense.data.channel_steps import expect_channels
from convnext_dense.data.channels import channels_of
from convnext_dense.data.layouts.recognise import LAYOUTS
from convnext_dense.data.layouts.split import SHARE, check_pattern
from convnext_dense.errors import InputError

SEMANTIC, INSTANCE = TASKS = ('semantic', 'instance')


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Options of the commands that take a folder of any layout."""
    group = parser.add_argument_group('own data')
    group.add_argument('--data', metavar='DIR', help=f'annotated folder of any layout: {", ".join(LAYOUTS)}')
    group.add_argument('--task', choices=TASKS, help="semantic: outlines become class masks (default: the recipe's)")
    group.add_argument(
        '--channels', type=int, metavar='N', help='TIFF, NPY and 16 bits as they are, of N channels (default: 3 of bytes)'
    )
    group.add_argument('--mean', type=float, nargs='+', metavar='X', help='of each channel (default: measured)')
    group.add_argument('--std', type=float, nargs='+', metavar='X', help='likewise')
    add_class_options(group)


def add_class_options(group: Any) -> None:
    """How a folder of any layout is read: what is learnt of it, and what validates."""
    group.add_argument('--layout', choices=LAYOUTS, help='where more than one lies there')
    group.add_argument('--classes', metavar='A,B', help='learn these alone')
    group.add_argument('--merge', nargs='+', metavar='NAME=A,B', default=[], help='learn several classes as one')
    group.add_argument(
        '--ignore', nargs='+', metavar='VALUE', default=[], help="mask values, colours as '#ff0000' or classes to leave out"
    )
    group.add_argument(
        '--val-share', type=float, default=SHARE, help='of the names, those that validate where no split is; test: 1 for all'
    )
    group.add_argument(
        '--group-by', metavar='PATTERN', help='names that agree in it stay in one split; video: all but the last number'
    )


def check_data_options(args: Namespace) -> None:
    """Stop at options of own data without it, and at two data sets at once."""
    given: dict[str, Any] = dict(layout=None, task=None, classes=None, merge=[], ignore=[], val_share=SHARE, group_by=None)
    given |= dict(channels=None, mean=None, std=None)
    for name, default in given.items():
        if args.data is None and getattr(args, name) != default:
            raise InputError(f'--{name.replace("_", "-")}: expected --data DIR with it; name the folder')
    if args.channels is not None:
        expect_channels(args.channels)
    if args.group_by is not None:
        check_pattern(args.group_by)
    if not 0 < args.val_share <= 1:
        raise InputError(f'--val-share: expected a share above 0, up to 1 in testing; got {args.val_share:g}')
    if (args.mean is None) != (args.std is None) or (args.mean is not None and args.channels is None):
        raise InputError('--mean and --std: expected both, with --channels N; without them they are measured')
    for name in ('data_root', 'train_ann', 'val_ann'):
        if args.data is not None and getattr(args, name, None) is not None:
            raise InputError(f'--data and --{name.replace("_", "-")}: expected one of the two, got both; leave out one of them')


def check_channels(cfg: Config, args: Namespace) -> None:
    """Stop a test of another number of channels than the model's, and statistics, which the checkpoint has."""
    trained = cfg.model.get('backbone', {}).get('in_channels', 3)
    if args.channels not in (None, trained):
        raise InputError(f'--channels: expected {trained}, of the checkpoint; got {args.channels}; leave it out')
    if args.mean is not None:
        raise InputError('--mean and --std: expected by training alone; the checkpoint has them; leave them out')
    args.channels = trained if channels_of(cfg.test_dataloader) is not None else None
