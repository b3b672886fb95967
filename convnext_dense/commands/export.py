"""Export a trained segmentor to ONNX, OpenVINO, torch.export or TorchScript, and prove that it gives the same.

    convnext-dense export work_dirs/my_run --to onnx openvino --out model.onnx --check photos/
    convnext-dense export CHECKPOINT --config CONFIG --to torch-export --out model.pt2 --size 512x512
    convnext-dense export work_dirs/my_run --to web --out site/
    convnext-dense export --serve site/

A file takes pictures (B, H, W, 3) of bytes in RGB, of any size or of --size, and gives classes (B, H, W) and the head's logits;
normalising and upsampling are inside. Each file is run by its own runtime on pictures of three sizes and compared with PyTorch;
the table is printed and kept in OUT.json. One that differs by more than rounding is not kept.

`--to web` writes a folder for any web server: a page that runs the model in the browser. `--serve` shows it on this computer.

Exit status 0: done. 1: a file gave something else and is not there. 2: wrong input, said in one line. 70: an unforeseen error.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from convnext_dense.commands.predict import models
from convnext_dense.errors import InputError
from convnext_dense.export.exporting import export_segmentor, parsed_size
from convnext_dense.export.runtimes import FORMS, Size, check_installed
from convnext_dense.export.serve import PORT, serve
from convnext_dense.export.web import META, MODEL, check_site_folder, write_site
from convnext_dense.export.web_runtime import find_runtime
from convnext_dense.predict.loading import load_model
from convnext_dense.run.command import Parser
from convnext_dense.run.preflight import last_checkpoint

WEB = 'web'


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument('model', nargs='?', help='work directory of a run, for its last checkpoint; or a checkpoint')
    parser.add_argument('--config', metavar='FILE', help='config of a checkpoint that carries none')
    parser.add_argument('--to', nargs='+', choices=[*FORMS, WEB], help='forms of files; web: a folder')
    parser.add_argument(
        '--out', metavar='FILE', help='file to write; other forms get its name with their ending; of web: folder'
    )
    parser.add_argument('--size', default='dynamic', metavar='HxW', help='one size alone, in pixels')
    parser.add_argument('--check', metavar='DIR', help='pictures to compare on (default: drawn ones)')
    parser.add_argument('--onnxruntime-web', metavar='DIR', help='for web: the package of npm, unpacked (default: by npm)')
    parser.add_argument('--serve', metavar='DIR', help='show a folder of --to web on this computer, until Ctrl-C')
    parser.add_argument('--port', type=int, default=PORT, help='of --serve; 0: a free one')
    args = parser.parse_args()
    if args.serve is None and not (args.model and args.to and args.out):
        parser.error('expected a model, --to and --out; or --serve DIR')
    if args.serve is not None and (args.model or args.to or args.out):
        parser.error('--serve: expected no model, --to or --out beside it; write first, then serve')
    return args


def main() -> None:
    args = parse_args()
    if args.serve is not None:
        return serve(args.serve, args.port)
    forms, size = list(dict.fromkeys(args.to)), parsed_size(args.size)
    if WEB in forms:
        if len(forms) > 1:
            raise InputError(f'--to: expected web alone, since --out is a folder, got {" ".join(forms)}; export twice')
        return to_web(args, size)
    check_installed(forms)
    model = load_model(*models(args), device='cpu')
    if not export_segmentor(model, last_checkpoint(args.model), args.out, forms, size, args.check, print):
        sys.exit(1)


def to_web(args: argparse.Namespace, size: Size) -> None:
    check_site_folder('--out', args.out)
    check_installed(['onnx'])
    runtime = find_runtime(args.onnxruntime_web)
    model = load_model(*models(args), device='cpu')
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, MODEL)
        if not export_segmentor(model, last_checkpoint(args.model), str(file), ['onnx'], size, args.check, print):
            sys.exit(1)
        meta = dict(task='segmentation') | json.loads(Path(folder, META).read_text())
        written = write_site(args.out, file, meta, runtime)
    print(f'web: {args.out}, {written / 1e6:.1f} MB; see it with --serve {args.out}')
