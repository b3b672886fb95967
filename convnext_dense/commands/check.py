"""List what is wrong with a config's data sets, or with a folder of any layout, which is drawn on a page, too.

    convnext-dense check upernet_convnext_t_ade20k --data-root ADEChallengeData2016
    convnext-dense check mask_rcnn_convnext_t_coco --data-root DIR --train-ann train.json --val-ann val.json
    convnext-dense check --data my_folder                    # and check/index.html: pictures, classes, sizes, problems
    convnext-dense check --data my_folder --task semantic --out my_check
    convnext-dense check CONFIG --data-root DIR --out my_check

Reads from the config: the dataloaders' data sets. Every file is read: missing, broken and mismatched ones, values outside
the classes, boxes outside the image, polygons of less than three points, ids that occur twice or not at all are listed.
The page is one file that opens without a network; every problem on it has its picture.
Exit status 0: no problems, warnings at most. 1: problems. 2: wrong input.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from convnext_dense.data.check import check_classes, check_split
from convnext_dense.data.check_ignored import check_ignored
from convnext_dense.data.layouts.found import Found, Picture
from convnext_dense.errors import InputError
from convnext_dense.files import check_folder, partial_file
from convnext_dense.report.data_page import Anchors, Data, data_page
from convnext_dense.report.of_config import found_in_config
from convnext_dense.report.problems import ERROR, Problem, problems
from convnext_dense.report.survey import survey
from convnext_dense.run.classes import settle_coco
from convnext_dense.run.command import Parser
from convnext_dense.run.options import add_config_options, load_config
from convnext_dense.run.own_data import chosen_split, lines, prepared, read, task_of
from convnext_dense.run.own_options import INSTANCE, SEMANTIC, add_data_options, check_data_options

SHOWN = 3  # warnings of a kind
FOLDER = 'check'
RECIPE = 'mask_rcnn_convnext_t_coco'  # whose anchors the objects are compared with, where no config is named


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    add_config_options(parser, needed=False)
    add_data_options(parser)
    parser.add_argument('--out', metavar='DIR', help=f'folder of the page; default {FOLDER} with --data, no page with a config')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_data_options(args)
    if args.data is not None:
        sys.exit(1 if check_folder_of_data(args) else 0)
    if args.config is None:
        raise InputError('config: expected a config, or --data DIR, got neither; name one')
    sys.exit(1 if check_config(args) else 0)


def check_folder_of_data(args: argparse.Namespace) -> int:
    """The number of errors in a folder of any layout; its page is written."""
    args.out = args.out or FOLDER
    check_folder('--out', args.out)
    with progress() as bar:
        found = read(args, bar('reading masks'), collect=True)
        task = args.task or (
            task_of(load_config(args.config, args.cfg_options)) if args.config else SEMANTIC if found.values else INSTANCE
        )
        found = prepared(found, args, task)
        parts, how = chosen_split(args, found)
        return write_page(args, found, parts, lines(found, parts, how), task == SEMANTIC, bar)


def write_page(
    args: argparse.Namespace,
    found: Found,
    parts: dict[str, list[Picture]],
    text: Sequence[str],
    masks: bool,
    bar: Callable[[str], Callable[[int, int], None]],
) -> int:
    """The page into `args.out`, and what it says in lines; the number of errors."""
    pictures = [picture for several in parts.values() for picture in several]
    rows = survey(found, pictures, masks, bar('reading pictures'), args.channels)
    seen = {picture.name: one for picture, one in zip(pictures, rows, strict=True)}
    faults = problems(found, parts, seen)
    data = Data(found, parts, seen, faults, text, masks, anchors(args), palette(len(found.classes)), args.channels)
    page = data_page(data, bar('drawing'))
    path = Path(args.out, 'index.html')
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(str(path)) as partial:
        partial.write_text(page, encoding='utf-8')
    for line in [*text, *listing(faults)]:
        print(line)
    errors = sum(problem.level == ERROR for problem in faults)
    print(f'{errors} errors, {len(faults) - errors} warnings; with their pictures in {path}')
    return errors


def listing(rows: Sequence[Problem]) -> Iterator[str]:
    """All errors, and the first warnings of each kind."""
    counts: Counter[str] = Counter()
    for one in rows:
        counts[one.kind] += 1
        if one.level == ERROR or counts[one.kind] <= SHOWN:
            yield f'{one.level}: {one.text}'
    for one in {row.kind: row for row in rows if row.level != ERROR}.values():
        if counts[one.kind] > SHOWN:
            yield f'{one.level}: {one.kind}: {counts[one.kind] - SHOWN} more'


@contextmanager
def progress() -> Iterator[Any]:
    """On a terminal, bars that a name makes; elsewhere nothing."""
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, disable=not sys.stderr.isatty(), transient=True) as bars:

        def bar(name: str) -> Any:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield bar


def anchors(args: argparse.Namespace) -> Anchors | None:
    """Of the config, or of the recipe where none is named."""
    cfg = load_config(args.config or RECIPE, args.cfg_options)
    made = (cfg.get('model') or {}).get('rpn_head', {}).get('anchor_generator')
    resize = next((step for step in cfg.test_dataloader.dataset.pipeline if step.get('type') == 'Resize'), None)
    if not made or not resize or not isinstance(resize.get('scale'), (list, tuple)):
        return None
    sides = sorted(scale * stride for scale in made.get('scales', []) for stride in made.get('strides', []))
    return Anchors(tuple(map(float, sides)), tuple(resize['scale'])) if sides else None


def palette(count: int) -> list[tuple[int, int, int]]:
    """Colours that differ, evenly around the circle."""
    from colorsys import hsv_to_rgb

    shades = [hsv_to_rgb(index * 0.618 % 1, 0.75, 0.95) for index in range(count)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shades]


def check_config(args: argparse.Namespace) -> int:
    """The number of problems in the data sets of a config."""
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
        rows = check_split(name, cfg, mode='all')
        for row in rows:
            print(f'{name}: {row}')
        print(f'{name}: {len(rows)} problems')
        found += len(rows)
    if args.out is not None:
        check_folder('--out', args.out)
        with progress() as bar:
            whole, parts = found_in_config(cfg, names)
            text = [f'data: {args.config}: ' + ', '.join(f'{len(pictures)} {split}' for split, pictures in parts.items())]
            found += write_page(args, whole, parts, text, whole.values is not None, bar)
    return found


def _data(cfg: Config, name: str) -> Any:
    loader = cfg.get(name)
    return loader.get('dataset') if isinstance(loader, dict) else loader
