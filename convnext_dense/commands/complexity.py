"""Parameters and multiply-adds of a config, counted by mmengine's analysis.

    convnext-dense complexity upernet_convnext_t_ade20k --shape 512 2048
    convnext-dense complexity mask_rcnn_convnext_t_coco          # detectors at 1280x800
    convnext-dense complexity --published          # every shipped model beside its published figures, where it has some
    convnext-dense complexity --rival              # ConvNeXt, Swin and ResNet in the same heads, beside the paper's figures

Reads from the config: model. With --published, the published figures are read from each config's docstring.
"""

import argparse

from rich.table import Table

from convnext_dense.benchmark.complexity import count, published_figures, usual_shape
from convnext_dense.benchmark.contest import prepare
from convnext_dense.benchmark.families import rival_table
from convnext_dense.errors import InputError
from convnext_dense.recipes import recipes
from convnext_dense.run.command import Parser
from convnext_dense.run.options import Overrides, load_config
from convnext_dense.run.rehearsal import check_parts
from convnext_dense.text import table_text

LARGEST = 8192  # of a side: the maps are computed


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument('config', nargs='?', help='config file, or the name of a recipe')
    parser.add_argument('--shape', type=int, nargs='+', metavar='N', help='input height and width, or one side of a square')
    parser.add_argument('--published', action='store_true', help='all shipped models beside the published figures')
    parser.add_argument('--rival', action='store_true', help='ConvNeXt, Swin and ResNet in UperNet and Cascade Mask R-CNN')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE', help='as in training')
    args = parser.parse_args()
    if sum((args.config is not None, args.published, args.rival)) != 1:
        parser.error('expected one of a config, --published and --rival')
    if args.config is None and (args.shape or args.cfg_options):
        which = '--published' if args.published else '--rival'
        parser.error(f'{which}: expected no other option, since its configs and shapes are those of the table')
    return args


def main() -> None:
    args = parse_args()
    if args.published:
        print(table_text(published_table()))
        return
    if args.rival:
        prepare()
        print(table_text(rival_table(lambda line: print(line, flush=True))))
        return
    cfg = load_config(args.config, args.cfg_options)
    check_parts(cfg, ())
    shape = args.shape or usual_shape(cfg)
    if len(shape) > 2 or min(shape) < 32 or max(shape) > LARGEST:
        raise InputError(f'--shape: expected one or two sizes from 32 to {LARGEST}, got {" ".join(map(str, shape))}')
    height, width = shape[0], shape[-1]
    params, macs = count(cfg, height, width)
    print(f'{args.config} at {height}x{width}: {params / 1e6:.3f} M parameters, {macs / 1e9:.2f} G multiply-adds')


def published_table() -> Table:
    """A row per shipped config, but for those of the toy set."""
    table = Table('config', 'input', 'params', 'published', 'multiply-adds', 'published', 'difference')
    for name, path in recipes().items():
        figures = published_figures(path)
        if figures is None and name.endswith('_shapes'):
            continue
        cfg = load_config(str(path))
        height, width = (figures.height, figures.width) if figures else usual_shape(cfg)
        params, macs = count(cfg, height, width)
        table.add_row(
            name,
            f'{height}x{width}',
            f'{params / 1e6:.3f} M',
            f'{figures.params} M' if figures and figures.params else '-',
            f'{macs / 1e9:.1f} G',
            f'{figures.macs} G' if figures else '-',
            f'{100 * (macs / 1e9 / figures.macs - 1):+.2f} %' if figures else '-',
        )
    return table
