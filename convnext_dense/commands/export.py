"""Export a trained model to ONNX, OpenVINO, torch.export or TorchScript, and prove that it gives the same.

    convnext-dense export work_dirs/my_run --to onnx openvino --out model.onnx --check photos/
    convnext-dense export work_dirs/my_run --to onnx --out model.onnx --int8 photos/       # and model_int8.onnx
    convnext-dense export CHECKPOINT --config CONFIG --to torch-export --out model.pt2 --size 512x512
    convnext-dense export work_dirs/my_run --to web --out site/
    convnext-dense export --serve site/

A file takes pictures (B, H, W, 3) of bytes in RGB, of any size or of --size; the pipeline's resize and normalising are inside.
A segmentor's gives classes (B, H, W) and the head's logits, a detector's boxes, scores, labels and masks of one picture. Each
file is run by its own runtime on pictures of three sizes and compared with PyTorch; the table is printed and kept in
NAME.json beside NAME.onnx. One that differs by more than rounding is not kept.

`--to web` writes a folder for any web server: a page that runs the model in the browser. `--serve` shows it on this computer.

Exit status 0: done. 1: a file gave something else and is not there. 2: wrong input, said in one line. 70: an unforeseen error.
130: Ctrl-C. 143: SIGTERM.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from convnext_dense.errors import InputError
from convnext_dense.export.names import FORM_NAMES, MASKS, SUFFIXES
from convnext_dense.export.options import Options, expect_eight_bits, expect_pictures, parsed_size, targets
from convnext_dense.export.serve import PORT, serve
from convnext_dense.export.web import META, MODEL, check_site_folder, write_site
from convnext_dense.export.web_runtime import find_runtime
from convnext_dense.run.command import Parser, tidy

WEB = 'web'
NAME, SITE = 'model', 'site'  # of what is written, where --out does not say


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument('model', nargs='?', help='work directory of a run, for its last checkpoint; or a checkpoint')
    parser.add_argument('--config', metavar='FILE', help='config of a checkpoint that carries none')
    parser.add_argument('--to', nargs='+', choices=[*FORM_NAMES, WEB], help='forms of files; web: a folder')
    parser.add_argument(
        '--out',
        metavar='FILE',
        help=f'file to write; other forms get its name with their ending (default: {NAME} with that of the first); of web: '
        f'folder (default: {SITE})',
    )
    parser.add_argument('--size', default='dynamic', metavar='HxW', help='one size alone, in pixels')
    parser.add_argument('--raw', action='store_true', help='without resizing and normalising: of what the model itself takes')
    parser.add_argument(
        '--masks',
        choices=MASKS,
        default=MASKS[0],
        help='of a detector: as the head gives them, or pasted into the picture',
    )
    parser.add_argument('--check', metavar='DIR', help='pictures to compare on, a folder or a pattern (default: drawn ones)')
    parser.add_argument('--int8', metavar='DIR', help='also files of eight bits, calibrated on up to a hundred pictures of DIR')
    parser.add_argument('--onnxruntime-web', metavar='DIR', help='for web: the package of npm, unpacked (default: by npm)')
    parser.add_argument('--serve', metavar='DIR', help='show a folder of --to web on this computer, until Ctrl-C')
    parser.add_argument('--port', type=int, default=PORT, help='of --serve; 0: a free one')
    args = parser.parse_args()
    if args.serve is None and not (args.model and args.to):
        parser.error('expected a model and --to; or --serve DIR')
    if args.serve is not None and (args.model or args.to or args.out):
        parser.error('--serve: expected no model, --to or --out beside it; write first, then serve')
    if args.serve is not None:
        alone = [action.option_strings[0] for action in parser._actions if _given(args, action)]
        if alone:
            parser.error(f'{alone[0]}: expected a model and --to with it, got --serve')
    if args.serve is None and args.port != PORT:
        parser.error('--port: expected --serve with it')
    if args.onnxruntime_web and WEB not in (args.to or []):
        parser.error('--onnxruntime-web: expected --to web with it')
    if args.out is None and args.to:
        args.out = SITE if args.to[0] == WEB else f'{NAME}{SUFFIXES[args.to[0]]}'
    return args


def _given(args: argparse.Namespace, action: argparse.Action) -> bool:
    """Whether it is an option of writing, and not left out."""
    writes = action.option_strings and action.dest not in ('serve', 'port', 'debug', 'help')
    return bool(writes) and getattr(args, action.dest) != action.default


def main() -> None:
    args = parse_args()
    if args.serve is not None:  # which needs no PyTorch: see convnext_dense_cli.py
        return serve(args.serve, args.port)
    with tidy():
        export(args)


def export(args: argparse.Namespace) -> None:
    """Write what `--to` names."""
    forms = list(dict.fromkeys(args.to))
    if WEB not in forms:
        write(args, args.out, forms)
        return
    if len(forms) > 1:
        raise InputError(f'--to: expected web alone, since --out is a folder, got {" ".join(forms)}; export twice')
    for option, given in (('--raw', args.raw), ('--int8', args.int8), ('--masks', args.masks != MASKS[0])):
        if given:
            raise InputError(f'{option}: expected a file with it, got --to web; leave it out')
    check_site_folder('--out', args.out)
    checked(args, ['onnx'])
    runtime = find_runtime(args.onnxruntime_web)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, MODEL)
        write(args, str(file), ['onnx'])
        size = write_site(args.out, file, json.loads(Path(folder, META).read_text()), runtime)
    print(f'web: {args.out}, {size / 1e6:.1f} MB; see it with --serve {args.out}')


def checked(args: argparse.Namespace, forms: list[str]) -> Options:
    """What is asked for, before anything that takes long."""
    options = Options(parsed_size(args.size), args.raw, args.masks, args.check, args.int8)
    if args.int8 is not None:
        expect_eight_bits(forms)
    for option, given in (('--check', args.check), ('--int8', args.int8)):
        if given is not None:
            expect_pictures(option, given)
    return options


def write(args: argparse.Namespace, out: str, forms: list[str]) -> None:
    """Write files of one name and prove them; end with status 1 where one is not kept."""
    options = checked(args, forms)
    targets(out, forms)
    try:
        from convnext_dense.commands.predict import models
        from convnext_dense.export.exporting import export_model
        from convnext_dense.export.runtimes import check_installed
        from convnext_dense.predict.trained import checkpoint_path, load_trained
    except ModuleNotFoundError as error:
        if (error.name or '').startswith('convnext_dense'):
            raise
        raise InputError(f'export: expected {error.name}, which is not installed; install requirements.txt') from error

    check_installed(forms)
    model = load_trained(*models(args), device='cpu')
    if not export_model(model, checkpoint_path(args.model), out, forms, options, print):
        sys.exit(1)
