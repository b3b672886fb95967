"""Time and memory of the models against their rivals, interleaved in one run, by the median.

    convnext-dense benchmark --all                       # every work: table, JSON and chart
    convnext-dense benchmark backbone upernet-training   # some
    convnext-dense benchmark photograph                  # predicting one of 2048x1536 pixels
    convnext-dense benchmark predict                     # from JPEG files to written results, beside other libraries
    convnext-dense benchmark export                      # exported files, also of eight bits, beside PyTorch
    convnext-dense benchmark families families-training  # UperNet with ConvNeXt, Swin and ResNet, T to B
    convnext-dense benchmark evaluation                  # COCO's numbers, and masks pasted and encoded
    convnext-dense benchmark resume run-cost             # far into a run, and each step, beside MMEngine's (docs/runs.md)
    convnext-dense benchmark constants                   # the kernels' constants at several values (docs/kernels.md)
    convnext-dense benchmark choose CONFIG               # a config's model by plain and by fast paths: the options to set here

Rivals that are not installed are named and left out (pip install -r requirements-benchmark.txt).
"""

import argparse
import json
import os
import platform
from pathlib import Path

import torch
from rich.table import Table

from convnext_dense.benchmark.choose import choose
from convnext_dense.benchmark.constants import constants
from convnext_dense.benchmark.contest import DEVICE, WORKS, contest, prepare
from convnext_dense.benchmark.evaluation import evaluation
from convnext_dense.benchmark.exports import exports
from convnext_dense.benchmark.photograph import photograph
from convnext_dense.benchmark.prediction import prediction
from convnext_dense.benchmark.report import chart, limit_line, table
from convnext_dense.benchmark.run_cost import resume_cost, step_cost
from convnext_dense.errors import InputError
from convnext_dense.files import check_folder
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.run.command import Parser
from convnext_dense.run.options import load_config
from convnext_dense.text import table_text

OTHER = ('photograph', 'predict', 'evaluation', 'export', 'constants', 'resume', 'run-cost')
OUT = 'work_dirs/benchmark'
FAMILIES = ('families', 'families-training')
ALL = (*(name for name in WORKS if name not in FAMILIES), 'photograph', 'predict', 'evaluation')


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument('work', nargs='*', metavar='WORK', help=f'of {", ".join((*WORKS, *OTHER))}; or choose CONFIG')
    parser.add_argument('--all', action='store_true', help='every work but families, export, constants, resume and run-cost')
    parser.add_argument('--rounds', type=int, default=10, help='rounds after a warm-up; half for long work')
    parser.add_argument('--threads', type=int, help="PyTorch's threads on the CPU (default: the machine's)")
    parser.add_argument('--out', metavar='DIR', help=f'for benchmark.json and benchmark.png, of rivals ({OUT})')
    parser.add_argument('--size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), help="choose: of the images (the config's)")
    args = parser.parse_args()
    if args.work[:1] == ['choose']:
        choose_paths(args)
        return
    if args.size:
        raise InputError(f'--size: expected with choose CONFIG alone, got {" ".join(args.work) or "--all"}; leave it out')
    if args.all and args.work:
        raise InputError(f'expected --all or names of works, got both: {", ".join(args.work)}')
    names = list(ALL) if args.all else args.work
    unknown = [name for name in names if name not in (*WORKS, *OTHER)]
    if not names or unknown:
        raise InputError(f'expected --all, or of {", ".join((*WORKS, *OTHER))}; got {", ".join(unknown) or "nothing"}')
    if args.out and not set(names) & set(WORKS):
        raise InputError(f'--out: expected with one of {", ".join(WORKS)}, got {", ".join(names)}; leave it out')
    out = args.out or OUT
    check_folder('--out', out)
    set_up(args)
    outcomes = []
    for name in names:
        if name in WORKS:
            outcomes.append(contest(name, args.rounds, lambda line: print(line, flush=True)))
            write(outcomes, Path(out))  # after each, so that an interrupted run leaves what it has
    if outcomes:
        show(outcomes)
        print(f'written: {Path(out) / "benchmark.json"}, {Path(out) / "benchmark.png"}')
    if 'photograph' in names:
        print(table_text(photograph()))
    if 'predict' in names:
        print(table_text(prediction(max(args.rounds // 2, 1), print)))
    if 'export' in names:
        print(table_text(exports(max(args.rounds // 2, 1), print)))
    if 'evaluation' in names:
        timed = Table('work', 'path', 'median ms', 'range ms', 'times faster')
        evaluation(timed, args.rounds)
        print(table_text(timed))
    if 'resume' in names:
        print(table_text(resume_cost(print)))
    if 'run-cost' in names:
        print(table_text(step_cost(print, args.rounds)))
    if 'constants' in names:
        for found in constants(args.rounds):
            print(table_text(found))


def set_up(args: argparse.Namespace) -> None:
    for option in ('rounds', 'threads'):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise InputError(f'--{option}: expected 1 or more, got {value}')
    if args.threads:
        torch.set_num_threads(args.threads)
        os.environ['OMP_NUM_THREADS'] = str(args.threads)  # of the processes that memory is measured in
    prepare()


def choose_paths(args: argparse.Namespace) -> None:
    if args.out:
        raise InputError('--out: choose writes no files; leave it out')
    if args.all or len(args.work) != 2:
        raise InputError(f'choose: expected one config, got {" ".join(args.work[1:]) or "none"}; as in choose NAME')
    if args.size and min(args.size) < MIN_SIDE:
        raise InputError(f'--size: expected at least {MIN_SIDE} pixels a side, got {args.size[0]} and {args.size[1]}')
    set_up(args)
    table = choose(load_config(args.work[1]), tuple(args.size) if args.size else None, args.rounds, print)
    print(table_text(table))


def show(outcomes: list) -> None:
    print(table_text(table(outcomes)))
    for outcome in outcomes:
        for rival, value in outcome.differences.items():
            print(f'{WORKS[outcome.work].title}: outputs differ from {rival} by {value:.1e} of their scale')
        if outcome.limit:
            print(limit_line(outcome))


def write(outcomes: list, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    machine = dict(device=DEVICE, threads=torch.get_num_threads(), torch=torch.__version__, processor=platform.processor())
    content = dict(machine=machine, works=[outcome.as_dict() for outcome in outcomes])
    (folder / 'benchmark.json').write_text(json.dumps(content, indent=2) + '\n')
    chart(outcomes, folder / 'benchmark.png')
