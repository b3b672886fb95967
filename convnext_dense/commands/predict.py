"""Predict on pictures, folders, patterns, URLs and videos, and write what was found.

    convnext-dense predict work_dirs/my_run street.jpg photos/ 'more/*.png' --out DIR
    convnext-dense predict CHECKPOINT photos/ --out DIR --format png coco csv --no-pictures
    convnext-dense predict CHECKPOINT --config CONFIG photos/ --out DIR      # weights that carry no config
    convnext-dense predict model.onnx photos/ --out DIR                      # an exported file (.onnx, .xml), without PyTorch
    convnext-dense predict MODEL camera.mp4 --out out.mp4 --every 5
    convnext-dense predict MODEL huge.tif --tile 1024 --overlap 0.25 --out huge_mask.tif

DIR gets pictures/, and of the formats: png in masks/ with classes.json; json, labelme, npz and geojson in folders of their
names; coco.json; predictions.csv. With --tile, a TIFF of any size becomes a TIFF of class indices, by windows. A picture that
cannot be read is named, counted and left out.

Exit status 0: done. 2: wrong input, said in one line. 3: some pictures could not be read. 70: an unforeseen error. 130: Ctrl-C.
"""

import argparse
import sys

from convnext_dense.predict.loading import load_model
from convnext_dense.predict.predictor import PRECISIONS, SCORE
from convnext_dense.predict.tiles import OVERLAP
from convnext_dense.predict.to_files import predict_to_files
from convnext_dense.predict.writers import FORMATS
from convnext_dense.run.command import Parser

GO_ON = '--resume goes on where --out is a folder'


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument('model', help='work directory of a run, for its last checkpoint; a checkpoint; or an exported file')
    parser.add_argument('input', nargs='+', help='pictures, folders, patterns, URLs, videos')
    parser.add_argument(
        '--out', metavar='DIR', required=True, help='folder to write to; a video for a video, a picture for one'
    )
    parser.add_argument('--config', metavar='FILE', help='config of a checkpoint that carries none')
    parser.add_argument('--format', nargs='+', choices=FORMATS, default=[], help='files to write beside the pictures')
    parser.add_argument('--no-pictures', action='store_true', help='draw nothing')
    parser.add_argument('--score', type=float, default=SCORE, help='of objects, the least')
    parser.add_argument('--classes', metavar='A,B', help='only these')
    parser.add_argument('--batch-size', type=int, default=1, help='pictures of equal size that are computed together')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:1, mps; auto: CUDA where it is')
    parser.add_argument('--threads', type=int, metavar='N', help="of an exported file, that compute (default: its runtime's)")
    parser.add_argument('--precision', choices=PRECISIONS, default=PRECISIONS[0], help='bfloat16: by autocast')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation, as the config has it')
    parser.add_argument(
        '--tile', default='off', metavar='auto|N|off', help='predict in tiles of N pixels; auto: large pictures'
    )
    parser.add_argument('--overlap', type=float, default=OVERLAP, help='of a tile, the share that the next one sees, too')
    parser.add_argument(
        '--bands', metavar='3,2,1', help='of other than three channels: which are drawn, as red, green and blue; or one, grey'
    )
    parser.add_argument('--every', type=int, default=1, metavar='N', help='of a video, each N-th frame')
    parser.add_argument('--recursive', action='store_true', help="look into folders' folders, too")
    parser.add_argument('--resume', action='store_true', help='leave out what --out has already')
    parser.add_argument('--strict', action='store_true', help='stop at a picture that cannot be read')
    parser.add_argument('--max-pixels', type=int, metavar='N', help="pictures of more are refused (default: Pillow's limit)")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    status = predict_to_files(args, lambda **options: load_model(*models(args), **options))
    if status:
        sys.exit(status)


def models(args: argparse.Namespace) -> tuple[str, ...]:
    return (args.config, args.model) if args.config else (args.model,)
