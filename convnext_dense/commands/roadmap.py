"""The walk from ResNet-50 to ConvNeXt-T and from ResNet-200 to ConvNeXt-B, step by step (arXiv 2201.03545).

    convnext-dense roadmap --size both --out DIR        # table, roadmap.json and the figure, time and memory measured here
    convnext-dense roadmap --rounds 0                   # without measuring
    convnext-dense roadmap --train --seeds 2            # every step from scratch on the toy set, the same budget; goes on
    convnext-dense roadmap --train --steps enhanced,width,downsample

A toy set from scratch is not ImageNet: its mIoU shows that every step trains, not what the paper measured.

Reads the config roadmap_upernet_shapes, for --train.
"""

import argparse
from pathlib import Path

from convnext_dense.benchmark.roadmap import Walk, measure, notes, parsed_steps, rows_of, table
from convnext_dense.benchmark.roadmap_figure import draw
from convnext_dense.benchmark.roadmap_training import check_data, train_rows
from convnext_dense.errors import InputError
from convnext_dense.files import check_folder
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.models.roadmap_steps import SIZES
from convnext_dense.run.command import Parser, tidy
from convnext_dense.text import suggest, table_text

BOTH, MOST, ROUNDS = 'both', 2048, 5
GO_ON = 'the same command goes on'


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument('--size', default='tiny', metavar='SIZE', help='tiny, base or both')
    parser.add_argument('--steps', metavar='A,B', help='these alone (default: the whole walk)')
    parser.add_argument('--out', default='work_dirs/roadmap', metavar='DIR', help='for table, JSON, figure and runs')
    parser.add_argument('--rounds', type=int, help=f'of measuring; 0 measures nothing ({ROUNDS}; with --train 0)')
    parser.add_argument('--side', type=int, default=224, help=f'pixels of the images that are measured, {MIN_SIDE} to {MOST}')
    parser.add_argument('--batch', type=int, default=2, help='images of a training step that is measured, from 2')
    parser.add_argument('--train', action='store_true', help='train each step on the toy set')
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='with --train: runs of each step')
    parser.add_argument('--iterations', type=int, default=600, metavar='N', help='with --train: of each run, from 2')
    parser.add_argument('--data-root', default='data/shapes', metavar='DIR', help='with --train: the toy set')
    args = parser.parse_args()
    if args.size not in (*SIZES, BOTH):
        raise InputError(f'--size: expected tiny, base or both, got {args.size!r}; {suggest(args.size, (*SIZES, BOTH))}')
    bounds = dict(rounds=(0, 1000), side=(MIN_SIDE, MOST), batch=(2, 256), seeds=(1, 100), iterations=(2, 10**7))
    for name, (least, most) in bounds.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise InputError(f'--{name}: expected {least} to {most}, got {value}')
    if args.rounds is None:
        args.rounds = 0 if args.train else ROUNDS
    return args


def main() -> None:
    args = parse_args()
    steps = parsed_steps(args.steps)
    check_folder('--out', args.out)
    out = Path(args.out)
    walk = Walk(out / 'roadmap.json')
    if args.train:
        check_data(args.data_root)
    sizes = SIZES if args.size == BOTH else (args.size,)
    rows = {size: rows_of(size, steps) for size in sizes}
    whole = [row for size in sizes for row in rows[size]]
    walk.take(whole)
    if args.rounds:
        for size in sizes:
            for row in rows[size]:
                row.pop('measured', None)
            measure(rows[size], args.rounds, args.side, args.batch, say)
            walk.write()
    if args.train:
        with tidy(GO_ON):
            train_rows(whole, args.seeds, args.iterations, args.data_root, out / 'runs', say, walk.write)
    walk.write()
    shown = [row for row in walk.ordered() if row['size'] in sizes]  # with what earlier calls measured and trained
    text = table_text(table(shown))
    text = '\n'.join([text, *notes(shown)])
    (out / 'roadmap.txt').write_text(f'{text}\n')
    pictures = [out / 'roadmap.png', out / 'roadmap.svg']
    draw(shown, pictures)
    print(text)
    print(f'written: {", ".join(map(str, (walk.file, out / "roadmap.txt", *pictures)))}')


def say(line: str) -> None:
    print(line, flush=True)
