"""Export a trained model to ONNX, OpenVINO, torch.export or TorchScript, and prove that it gives the same.

    convnext-dense export work_dirs/my_run --to onnx openvino --out model.onnx --check photos/
    convnext-dense export work_dirs/my_run --to onnx --out model.onnx --int8 photos/       # and model_int8.onnx
    convnext-dense export CHECKPOINT --config CONFIG --to torch-export --out model.pt2 --size 512x512

A file takes pictures (B, H, W, 3) of bytes in RGB, of any size or of --size; the pipeline's resize and normalising are inside.
A segmentor's gives classes (B, H, W) and the head's logits, a detector's boxes, scores, labels and masks of one picture. Each
file is run by its own runtime on pictures of three sizes and compared with PyTorch; the table is printed and kept in OUT.json.
One that differs by more than rounding is not kept.

Exit status 0: done. 1: a file gave something else and is not there. 2: wrong input, said in one line. 70: an unforeseen error.
"""

import argparse
import sys

from convnext_dense.commands.predict import models
from convnext_dense.export.exporting import Options, export_model, parsed_size
from convnext_dense.export.graphs import MASKS
from convnext_dense.export.runtimes import FORMS, check_installed
from convnext_dense.predict.trained import load_trained
from convnext_dense.run.command import Parser
from convnext_dense.run.preflight import last_checkpoint


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument('model', help='work directory of a run, for its last checkpoint; or a checkpoint')
    parser.add_argument('--config', metavar='FILE', help='config of a checkpoint that carries none')
    parser.add_argument('--to', nargs='+', choices=FORMS, required=True, help='forms of files')
    parser.add_argument(
        '--out', metavar='FILE', required=True, help='file to write; other forms get its name with their ending'
    )
    parser.add_argument('--size', default='dynamic', metavar='HxW', help='one size alone, in pixels')
    parser.add_argument('--raw', action='store_true', help='without resizing and normalising: of what the model itself takes')
    parser.add_argument(
        '--masks',
        choices=MASKS,
        default=MASKS[0],
        help='of a detector: as the head gives them, or pasted into the picture',
    )
    parser.add_argument('--check', metavar='DIR', help='pictures to compare on (default: drawn ones)')
    parser.add_argument('--int8', metavar='DIR', help='also files of eight bits, calibrated on up to a hundred pictures of DIR')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    size = parsed_size(args.size)
    check_installed(args.to)
    model = load_trained(*models(args), device='cpu')
    options = Options(size, args.raw, args.masks, args.check, args.int8)
    if not export_model(model, last_checkpoint(args.model), args.out, list(dict.fromkeys(args.to)), options, print):
        sys.exit(1)
