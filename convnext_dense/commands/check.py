"""List everything that is wrong with a config's data sets.

    convnext-dense check upernet_convnext_t_ade20k --data-root ADEChallengeData2016
    convnext-dense check mask_rcnn_convnext_t_coco --data-root DIR --train-ann train.json --val-ann val.json

Reads from the config: the dataloaders' data sets. Every file is read: missing, broken and mismatched ones, values outside
the classes, boxes outside the image, polygons of less than three points, ids that occur twice or not at all are listed.
Exit status 0: no problems. 1: problems. 2: wrong input.
"""

import sys
from typing import Any

from mmengine.config import Config

from convnext_dense.data.check import check_classes, check_split
from convnext_dense.data.check_ignored import check_ignored
from convnext_dense.errors import InputError
from convnext_dense.run.classes import settle_coco
from convnext_dense.run.command import Parser
from convnext_dense.run.options import add_config_options, load_config


def _data(cfg: Config, name: str) -> Any:
    loader = cfg.get(name)
    return loader.get('dataset') if isinstance(loader, dict) else loader


def main() -> None:
    parser = Parser(description=__doc__)
    add_config_options(parser)
    args = parser.parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    names = tuple(name for name in ('train_dataloader', 'val_dataloader', 'test_dataloader') if cfg.get(name))
    if 'val_dataloader' in names and _data(cfg, 'test_dataloader') == _data(cfg, 'val_dataloader'):
        names = tuple(name for name in names if name != 'test_dataloader')
    if not names:
        raise InputError(
            f'{args.config}: expected train_dataloader, val_dataloader or test_dataloader, got none; '
            'name a config that has a data set'
        )
    for line in settle_coco(cfg, names, args.train_ann, args.val_ann, args.cfg_options):
        print(line)
    check_classes(cfg, names)
    check_ignored(cfg, names)
    found = 0
    for name in names:
        problems = check_split(name, cfg, mode='all')
        for problem in problems:
            print(f'{name}: {problem}')
        print(f'{name}: {len(problems)} problems')
        found += len(problems)
    sys.exit(1 if found else 0)
