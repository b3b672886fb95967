"""Evaluate a checkpoint: the metrics as a table, as JSON, and pictures of the predictions.

    convnext-dense test upernet_convnext_t_ade20k CHECKPOINT --out metrics.json --show-dir pictures
    convnext-dense test CONFIG model.onnx                  # an exported file (.onnx, .xml), by its own runtime
    convnext-dense test CONFIG CHECKPOINT --data DIR       # a folder of any layout, as in training
    convnext-dense test CONFIG CHECKPOINT --tta            # segmentation: multi-scale and flip
    convnext-dense test CONFIG CHECKPOINT --tile 1024      # in tiles, at the pictures' own size
    convnext-dense test COCO_CONFIG CHECKPOINT --eval-backend faster-coco-eval

COCO's numbers are the twelve of pycocotools, for boxes and for masks.

Reads from the config: model, test_dataloader, test_evaluator, tta_model and tta_pipeline, work_dir.
Exit status 2: wrong input, said in one line, nothing is left. 70: an unforeseen error. 130: Ctrl-C.
"""

import argparse
import json
from typing import Any

from mmengine.dist import is_main_process
from rich.table import Table

from convnext_dense.data.channels import channels_of
from convnext_dense.data.check import check_data, data_classes
from convnext_dense.data.coco import BACKENDS
from convnext_dense.errors import InputError, doing
from convnext_dense.files import check_file, check_folder, partial_file
from convnext_dense.predict.as_trained import as_trained
from convnext_dense.predict.exported_model import ExportedFile
from convnext_dense.predict.exported_session import is_exported
from convnext_dense.predict.exported_tested import use_exported
from convnext_dense.predict.tiler import use_tiles
from convnext_dense.predict.tiles import OVERLAP, checked_tiling
from convnext_dense.run.classes import settle_coco
from convnext_dense.run.command import Parser
from convnext_dense.run.launch import prepare
from convnext_dense.run.options import (
    add_config_options,
    add_run_options,
    load_config,
    set_work_dir,
)
from convnext_dense.run.outputs import check_outputs
from convnext_dense.run.own_data import settle_own_data
from convnext_dense.run.own_options import add_data_options, check_channels, check_data_options
from convnext_dense.run.preflight import build_on_meta, check_evaluators, check_weights, last_checkpoint
from convnext_dense.run.rehearsal import check_parts
from convnext_dense.run.settle import settle_pretrained, use_backend, use_tta
from convnext_dense.run.testing import build_test_runner
from convnext_dense.text import table_text
from convnext_dense.weights.fetch import resolve
from convnext_dense.weights.load import trained_classes

COCO = ('coco/bbox_', 'coco/segm_', 'coco/proposal_')  # the beginnings of metrics that make a column; others are a class's


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    add_config_options(parser)
    parser.add_argument(
        'checkpoint', help='checkpoint of the whole model, a work directory for its last one, or an exported file'
    )
    add_run_options(parser)
    add_data_options(parser)
    parser.add_argument('--out', metavar='FILE', help='write the metrics as JSON')
    parser.add_argument('--show-dir', metavar='DIR', help='write a picture of each prediction')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation: multi-scale and flip')
    parser.add_argument('--tile', type=int, metavar='N', help='test pictures of their own size, in tiles of N pixels')
    parser.add_argument('--overlap', type=float, default=OVERLAP, help='of a tile, the share that the next one sees, too')
    parser.add_argument('--eval-backend', choices=BACKENDS, help="what computes COCO's numbers, in place of the config's")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_data_options(args)
    if args.tile is not None and args.tta:
        raise InputError('--tile and --tta: expected one of the two, got both')
    if args.tile is None and args.overlap != OVERLAP:
        raise InputError('--overlap: expected --tile with it')
    exported = opened(args) if is_exported(args.checkpoint) else None
    tiling = None if args.tile is None else checked_tiling(args.tile, args.overlap)
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    check_parts(cfg, ('test',))
    set_work_dir(cfg, args.config, args.work_dir, args.cfg_options)
    check_outputs(cfg, ('default_hooks.logger', 'custom_hooks', 'test_evaluator'))
    if args.out:
        check_file('--out', args.out, '.json')
    cfg.load_from, cfg.resume = None if exported else last_checkpoint(args.checkpoint), False
    lines: list[str] = []
    if args.data:
        if exported is None:
            lines = as_trained(cfg, resolve(cfg.load_from), args.cfg_options or {})
        check_channels(cfg, args)
        trained = trained_classes(cfg.load_from) if exported is None else exported.about.classes
        lines += settle_own_data(cfg, args, trained=trained, testing=True).lines
    lines += settle_coco(cfg, ('test_dataloader',), args.train_ann, args.val_ann, args.cfg_options)
    lines += prepare(cfg, args)
    settle_pretrained(cfg, None, needed=False)
    if exported is not None:
        lines += use_exported(cfg, exported, data_classes(cfg, 'test_dataloader'))
    model = build_on_meta(cfg)
    check_data(cfg, ['test_dataloader'], args.check_data)
    if exported is None:
        check_weights(cfg, model, data_classes(cfg, 'test_dataloader'))
    if args.show_dir:
        check_folder('--show-dir', args.show_dir)
        channels = channels_of(cfg.test_dataloader)
        cfg.custom_hooks.append(dict(type='SavePicturesHook', folder=args.show_dir, channels=channels))
    if args.eval_backend:
        use_backend(cfg, args.eval_backend)
    check_evaluators(cfg, 'test_evaluator')
    if args.tta:
        lines.append(use_tta(cfg))
    if tiling is not None:
        lines.append(use_tiles(cfg, tiling))
    runner = build_test_runner(cfg, model, lines)
    with doing('testing'):
        metrics = {name: plain(value) for name, value in runner.test().items()}
    if is_main_process():
        with doing('writing the metrics'):
            report(metrics, args.out)
        pictures = f'; pictures in {args.show_dir}' if args.show_dir else ''
        print(f'{summary(metrics)} on {len(runner.test_dataloader.dataset)} images{pictures}')


def opened(args: argparse.Namespace) -> ExportedFile:
    """The exported file that is tested.

    Raises:
        InputError: also for options that it has no use for.
    """
    for option, given in (('--tta', args.tta), ('--tile', args.tile is not None), ('--launcher', args.launcher != 'none')):
        if given:
            raise InputError(f'{option}: expected a checkpoint with it, got the exported file {args.checkpoint}; leave it out')
    changed = [name for name in args.cfg_options or {} if name.partition('.')[0] == 'model']
    if changed:
        raise InputError(f'--cfg-options {changed[0]}: expected a checkpoint with it, got the exported file {args.checkpoint}')
    return ExportedFile(args.checkpoint)


def plain(value: Any) -> float | str:
    """A metric as a number; as text where a metric of another library gives something else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def summary(metrics: dict[str, float | str]) -> str:
    """The figure that a model is known by."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, float)}
    if 'mIoU' in numbers:
        return f'mIoU {numbers["mIoU"]:.2f}'
    averages = {iou_type: numbers[f'coco/{iou_type}_mAP'] for iou_type in ('bbox', 'segm') if f'coco/{iou_type}_mAP' in numbers}
    return ', '.join(f'{iou_type} AP {value:.3f}' for iou_type, value in averages.items()) or 'tested'


def report(metrics: dict[str, float | str], out: str | None) -> None:
    """Write the metrics to `out` in one move, and print them as a table, COCO's with a column for each type."""
    if out:
        with partial_file(out) as partial:
            partial.write_text(json.dumps(metrics, indent=2) + '\n')
    found = {name: name.removeprefix('coco/').partition('_') for name in metrics if name.startswith(COCO)}
    iou_types = list(dict.fromkeys(iou_type for iou_type, _, _ in found.values()))
    table = Table('metric', *(iou_types or ['value']))
    for stat in dict.fromkeys(stat for _, _, stat in found.values()):
        table.add_row(stat, *(shown(metrics.get(f'coco/{iou_type}_{stat}', '-'), 3) for iou_type in iou_types))
    for name, value in metrics.items():
        if name not in found:
            table.add_row(name, shown(value, 3 if name.startswith('coco/') else 2))
    print(table_text(table))


def shown(value: float | str, digits: int) -> str:
    return f'{value:.{digits}f}' if isinstance(value, float) else value
