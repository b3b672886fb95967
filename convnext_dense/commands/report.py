"""What a run learnt, what its model gets wrong, which of two runs is better: one HTML file that opens offline.

    convnext-dense report WORK_DIR                       # WORK_DIR/report.html, curves.png and model_card.md
    convnext-dense report WORK_DIR --curves              # from the log alone, also of a run that is going on
    convnext-dense report WORK_DIR --data DIR            # on a folder of any layout in place of the run's test pictures
    convnext-dense report WORK_DIR --out DIR/page.html   # all of it beside that page, also where WORK_DIR is read-only
    convnext-dense report RUN_A RUN_B                    # RUN_A/comparison.html: is B better than A, and how sure is that?
    convnext-dense report WORK_DIR --hub ORG/NAME        # checkpoint, config, card, exported files to the Hugging Face hub

The model predicts its test pictures once; what it said is kept in WORK_DIR/report/evaluated. Figures are those of `test`.

Reads from the run's config: model, test_dataloader, test_evaluator.
Exit status 2: wrong input, said in one line. 70: an unforeseen error. 130: Ctrl-C.
"""

import argparse
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config

from convnext_dense.errors import InputError
from convnext_dense.files import check_file, check_folder, partial_file
from convnext_dense.report.card import model_card
from convnext_dense.report.compare_page import SEED_ALONE, Pair, compare_page
from convnext_dense.report.curves import write_curves
from convnext_dense.report.det_figures import by_class as ap_by_class
from convnext_dense.report.det_matches import class_matches, types_of
from convnext_dense.report.det_page import detection_sections
from convnext_dense.report.evaluate import evaluate, run_config
from convnext_dense.report.evaluated import FOLDER, About
from convnext_dense.report.html import plain
from convnext_dense.report.hub import check_hub, upload
from convnext_dense.report.log import Log, read_log
from convnext_dense.report.run_page import evaluated_line, run_page
from convnext_dense.report.runs import Run, alike, compare, detected_of, detector_run
from convnext_dense.report.seeds import seed_alone
from convnext_dense.report.seg_figures import figures
from convnext_dense.report.seg_page import segmentation_sections
from convnext_dense.report.source import source_of
from convnext_dense.run.command import Parser
from convnext_dense.run.own_data import reading
from convnext_dense.run.own_options import add_data_options, check_data_options

PAGE, COMPARISON, CARD, CURVES = 'report.html', 'comparison.html', 'model_card.md', 'curves.png'


def say(line: str) -> None:
    print(plain(line), flush=True)


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work directory of a run; of several to compare them')
    parser.add_argument(
        '--out',
        metavar='FILE',
        help=f'the page (WORK_DIR/{PAGE}; of several RUN_A/{COMPARISON}); curves and card lie beside it',
    )
    parser.add_argument('--checkpoint', metavar='FILE', help="in place of the run's last one")
    parser.add_argument('--curves', action='store_true', help='from the log alone: nothing is predicted')
    parser.add_argument('--again', action='store_true', help='predict anew, also what is kept')
    parser.add_argument('--data-root', metavar='DIR', help="the data set's folder, in place of the config's")
    parser.add_argument('--val-ann', metavar='FILE', help='COCO annotation file to test on')
    parser.add_argument('--hub', metavar='ORG/NAME', help='upload to this repository of the Hugging Face hub')
    parser.add_argument('--data-name', metavar='NAME', help='what the card calls the data (its folder)')
    add_data_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_options(args)
    logs = [read_log(folder) for folder in args.work_dirs]
    out = Path(args.out or logs[0].folder / (PAGE if len(logs) == 1 else COMPARISON))
    check_out(args, out)
    with ExitStack() as stack:
        if len(logs) > 1:
            write(out, comparison(logs, args, stack))
        elif args.curves:
            drawn = draw(logs[0], out)
            write(out, run_page(logs[0], before=out, drawn=drawn))
        else:
            one_run(logs[0], args, out, stack)


def check_out(args: Namespace, out: Path) -> None:
    """Stop before any work where the page cannot be written."""
    try:
        check_file('--out' if args.out else 'WORK_DIR', str(out), '.html')
    except InputError as error:
        raise error if args.out else InputError(f'{error}, by --out') from error


def check_options(args: Namespace) -> None:
    """Stop at options that have no use beside others."""
    check_data_options(args)
    several = len(args.work_dirs) > 1
    for option, given, wrong in (
        ('--checkpoint', args.checkpoint, several),
        ('--hub', args.hub, several or args.curves),
        ('--data-name', args.data_name, several or args.curves),
        ('--curves', args.curves, several),
        ('--checkpoint', args.checkpoint, args.curves),
        ('--again', args.again, args.curves),
        ('--data-root', args.data_root, args.curves),
        ('--val-ann', args.val_ann, args.curves),
        ('--data', args.data, args.curves),
    ):
        if given and wrong:
            what = 'one work directory' if several else 'it without --curves'
            raise InputError(f'{option}: expected {what}, got {"several" if several else "both"}; leave out one of them')
    if several and len({Path(one).resolve() for one in args.work_dirs}) < len(args.work_dirs):
        raise InputError('WORK_DIR: expected different runs, got one of them twice; name others')
    if args.hub:
        check_hub(args.hub)


def predictions(log: Log, args: Namespace, stack: ExitStack) -> tuple[About, Path]:
    """What is kept of a run, and the folder that has it: one for the moment, where the work directory cannot be written to."""
    try:
        check_folder('WORK_DIR', str(log.folder / 'report'))
    except InputError:
        spare = Path(stack.enter_context(TemporaryDirectory()))
        about = evaluate(log, args, say, spare)
        if not (spare / FOLDER).exists():
            return about, log.folder
        say(f'warning: {log.folder} cannot be written to: what is predicted is not kept, and predicted anew the next time')
        return about, spare
    return evaluate(log, args, say), log.folder


def one_run(log: Log, args: Namespace, out: Path, stack: ExitStack) -> None:
    """Page, curves and card of a run, and its upload."""
    about, folder = predictions(log, args, stack)
    if about.kind == 'segmentation':
        with reading('counting pixels') as told:
            found = figures(folder, about, told)
        sections = segmentation_sections(folder, about, found)
        by_class = dict(zip(about.classes, found.ious.tolist()))
    else:
        detected = detected_of(folder, about)
        matches = {one: class_matches(detected, one) for one in types_of(detected)}
        sections = detection_sections(detected, matches, about.palette)
        by_class = {row.name: row.ap for row in ap_by_class(list(matches.values())[-1])}
    drawn = draw(log, out)
    write(out, run_page(log, [evaluated_line(about), *sections], drawn=drawn))
    config = run_config(log)
    cfg = Config.fromfile(config)
    card = model_card(about, cfg, source_of(about, cfg, log.folder, args), by_class, args.hub)
    write(out.parent / CARD, card)
    if args.hub:
        upload(args.hub, log.folder, about.checkpoint, config, card, say)


def comparison(logs: list[Log], args: Namespace, stack: ExitStack) -> str:
    """The page of several runs; says what it found."""
    runs = [evaluated(log, name, args, stack) for log, name in zip(logs, short_names(args.work_dirs))]
    both = [alike(runs[0], other) for other in runs[1:]]
    pairs = [Pair(first, second, compare(first, second), seed_alone(first.log, second.log)) for first, second in both]
    for pair in pairs:
        say(pair.difference.sentence(pair.first.name, pair.second.name))
        if pair.seed_alone:
            say(SEED_ALONE)
    return compare_page(runs, pairs)


def evaluated(log: Log, name: str, args: Namespace, stack: ExitStack) -> Run:
    about, folder = predictions(log, args, stack)
    if about.kind == 'segmentation':
        with reading('counting pixels') as told:
            return Run(name, log, about, found=figures(folder, about, told), kept=folder)
    return detector_run(name, log, about, folder)


def short_names(folders: list[str]) -> list[str]:
    """The last parts of paths, as many as tell them apart."""
    paths = [Path(one).resolve().parts for one in folders]
    for length in range(1, max(map(len, paths)) + 1):
        names = ['/'.join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            break
    return names


def draw(log: Log, out: Path) -> Path:
    """The curves, beside the page."""
    path = out.parent / CURVES
    write_curves({log.folder.resolve().name: log}, path)
    say(f'written: {path}')
    return path


def write(path: Path, text: str) -> None:
    with partial_file(path) as partial:
        partial.write_text(plain(text), encoding='utf-8')
    say(f'written: {path}')
