"""Write a folder of any layout anew as COCO, YOLO, or pictures and class masks.

    convnext-dense convert-data my_labelme OUT --to coco
    convnext-dense convert-data my_coco OUT --to masks --ignore background
    convnext-dense convert-data my_masks OUT --to masks --merge car=van,truck --val-share 0.1

Pictures are copied; the folder itself stays as it is. Splits, classes and what is ignored are as in training by --data.
Exit status 0: done. 2: wrong input, nothing is left.
"""

import argparse
import shutil
from pathlib import Path

from convnext_dense.data.layouts.conversion import KINDS, check_out, convert
from convnext_dense.run.command import Parser
from convnext_dense.run.own_data import chosen_split, lines, prepared, read, reading
from convnext_dense.run.own_options import INSTANCE, SEMANTIC, add_class_options


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument('data', metavar='IN', help='annotated folder of any layout')
    parser.add_argument('out', metavar='OUT', help='folder to write; new or empty')
    parser.add_argument('--to', choices=KINDS, required=True, help='layout to write')
    add_class_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    out = Path(args.out)
    check_out(out, args.data)
    with reading() as told:
        found = prepared(read(args, told), args, SEMANTIC if args.to == 'masks' else INSTANCE)
    parts, how = chosen_split(args, found)
    print('\n'.join(lines(found, parts, how)))
    existed = out.exists()
    try:
        notes = convert(found, parts, out, args.to)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        if existed:
            out.mkdir()
        raise
    print('\n'.join([*notes, f'{sum(map(len, parts.values()))} pictures written to {out} as {args.to}']))
