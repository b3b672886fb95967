"""The model of a work directory on its test pictures: the evaluator's figures, and what was predicted, kept for the pages."""

from __future__ import annotations

import json
import os
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config

from convnext_dense.data.channels import channels_of
from convnext_dense.data.check import check_data, data_classes, data_sets
from convnext_dense.data.coco import coco_files, is_coco_class, read_coco
from convnext_dense.data.layouts.found import IGNORE
from convnext_dense.detection.coco_metric import TYPES, part_of
from convnext_dense.errors import InputError, doing
from convnext_dense.report.collect import CollectHook
from convnext_dense.report.evaluated import (
    DETECTIONS,
    FOLDER,
    MAPS,
    TRUTH,
    About,
    changed,
    read_about,
    stamp_of,
    stamps_of,
    write_about,
    write_json,
)
from convnext_dense.report.log import PLACE, Log
from convnext_dense.report.look import names_of
from convnext_dense.run.classes import settle_coco
from convnext_dense.run.launch import prepare
from convnext_dense.run.nodes import component, dicts
from convnext_dense.run.options import load_config
from convnext_dense.run.own_data import settle_own_data
from convnext_dense.run.own_options import check_channels
from convnext_dense.run.preflight import build_on_meta, check_evaluators, check_weights, last_checkpoint
from convnext_dense.run.rehearsal import check_parts
from convnext_dense.run.settle import settle_pretrained
from convnext_dense.run.testing import build_test_runner
from convnext_dense.training.last_good import meta_of
from convnext_dense.weights.load import trained_classes

PREFIX = 'detections'  # of the metric's own files
PATHS = ('data_root', 'val_ann', 'data')  # of the options that say what is tested on
CLASSES = ('task', 'classes', 'merge', 'ignore')
DATA = (*PATHS, *CLASSES, 'layout', 'val_share', 'group_by', 'channels', 'mean', 'std')


def run_config(log: Log) -> Path:
    """The config that the run's last start trained with, as it was settled.

    Raises:
        InputError: if it is not there.
    """
    folder = log.folders[-1]
    path = folder / Path(PLACE).parent / 'config.py'
    if not path.is_file():
        raise InputError(f'work directory: expected the config of the run in {path}, which is not there; train anew')
    return path


def evaluate(log: Log, args: Namespace, say: Callable[[str], None], place: Path | None = None) -> About:
    """What is kept of the run's checkpoint on the test pictures; predicted where it is not there, or not of these.

    `args`: checkpoint (None for the last one), again, and the options of own data. It says what it does by `say`. What is
    predicted is kept in `place`, by default the work directory.

    Raises:
        InputError: for a checkpoint, data or a config that cannot be tested.
    """
    checkpoint = last_checkpoint(args.checkpoint or str(log.folder))
    asked = json.dumps(asked_for(args), sort_keys=True)
    there = None if args.again else read_about(log.folder)
    if there and there.data == asked and there.stamp == stamp_of(checkpoint):
        other = changed(there)
        if other is None:
            say(f'report: the predictions of {checkpoint} are there, {len(there.pictures)} pictures; --again predicts anew')
            there.checkpoint = checkpoint  # the work directory may have been moved or copied
            return there
        say(f'report: {other} has changed since it was predicted on: predicting anew')
    place = place or log.folder
    cfg, lines = _config(log, args, checkpoint, place)
    return _predicted(cfg, lines, checkpoint, asked, place)


def asked_for(args: Namespace) -> dict[str, Any]:
    """The options that say what is tested on, with their folders and files as absolute paths."""
    given = {name: getattr(args, name, None) for name in DATA}
    return {name: os.path.abspath(value) if name in PATHS else value for name, value in given.items() if value}


def _config(log: Log, args: Namespace, checkpoint: str, place: Path) -> tuple[Config, list[str]]:
    """The run's config to test by, and what the log is to say of it."""
    cfg = load_config(str(run_config(log)), data_root=args.data_root)
    check_parts(cfg, ('test',))
    cfg.load_from, cfg.resume, cfg.custom_hooks = checkpoint, False, []
    cfg.work_dir = str(place / 'report' / 'test')
    if isinstance(cfg.get('visualizer'), dict):
        cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]  # not a second run on a tracker
    lines = _settled_data(log, cfg, args, checkpoint)
    lines += prepare(cfg, Namespace(launcher='none', local_rank=0, seed=None))
    settle_pretrained(cfg, None, needed=False)
    if str(cfg.model.get('type')).rpartition('.')[2] == 'LeanEncoderDecoder':
        cfg.model.test_cfg = dict(cfg.model.get('test_cfg') or {}, keep_confidence=True)
    return cfg, lines


def _predicted(cfg: Config, lines: list[str], checkpoint: str, asked: str, place: Path) -> About:
    """Test by the config, and keep in `place` what was predicted."""
    model = build_on_meta(cfg)
    check_data(cfg, ['test_dataloader'])
    check_weights(cfg, model, data_classes(cfg, 'test_dataloader'))
    folder = place / f'{FOLDER}.partial'  # what is there stays until this is whole
    shutil.rmtree(folder, ignore_errors=True)
    (folder / MAPS).mkdir(parents=True)
    detector = _keep_detections(cfg, folder)
    check_evaluators(cfg, 'test_evaluator')
    runner = build_test_runner(cfg, model, lines)
    names = names_of(runner.test_dataloader.dataset.metainfo)
    hook = CollectHook(str(folder / MAPS), len(names.classes), _ignored(cfg), detector)
    runner.register_hook(hook, priority='VERY_LOW')
    with doing('testing'):
        metrics = {name: float(value) for name, value in runner.test().items() if _is_number(value)}
    about = About(
        'detection' if detector else 'segmentation', checkpoint, stamp_of(checkpoint), iteration_of(checkpoint), asked
    )
    about.metrics, about.classes, about.palette = metrics, list(names.classes), [list(one) for one in names.palette]
    about.pictures, about.channels = hook.pictures, channels_of(cfg.test_dataloader)
    if detector:
        about.images = _write_detections(cfg, folder, hook, names.classes)
    elif hook.confident:
        about.calibration, about.not_finite = hook.bins.tolist(), hook.not_finite
    about.files = stamps_of([*hook.pictures, *hook.annotations])
    shutil.rmtree(place / FOLDER, ignore_errors=True)
    folder.rename(place / FOLDER)
    write_about(place, about)
    return about


def _ignored(cfg: Config) -> int:
    """The truth's index of pixels without a class, of the metric."""
    found = [node['ignore_index'] for node in dicts(cfg.test_evaluator) if isinstance(node.get('ignore_index'), int)]
    return found[0] if found else IGNORE


def iteration_of(checkpoint: str) -> int:
    """After which the checkpoint was written; 0 where it does not say."""
    found = meta_of(checkpoint).get('iter')
    return found if isinstance(found, int) else 0


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _settled_data(log: Log, cfg: Config, args: Namespace, checkpoint: str) -> list[str]:
    lines: list[str] = []
    if args.data:
        args = Namespace(**{**vars(args), 'config': run_config(log), 'cfg_options': None, 'train_ann': None})
        check_channels(cfg, args)
        lines += settle_own_data(cfg, args, trained=trained_classes(checkpoint), testing=True).lines
    return lines + settle_coco(cfg, ('test_dataloader',), None, args.val_ann)


def _keep_detections(cfg: Config, folder: Path) -> bool:
    """Let the metric write its detections; whether there is one that does."""
    found = False
    for node in dicts(cfg.test_evaluator):
        if str(node.get('type', '')).rpartition('.')[2] in ('CocoStatsMetric', 'CocoMetric'):
            node['outfile_prefix'] = str(folder / PREFIX)
            found = True
    return found


def _write_detections(cfg: Config, folder: Path, hook: CollectHook, classes: tuple[str, ...]) -> str:
    """The truth of the pictures that were tested, and all detections; the folder of the pictures."""
    specs = [spec for _, spec in data_sets(cfg, 'test_dataloader')]
    if len(specs) != 1 or not is_coco_class(component(specs[0].get('type'), cfg.get('default_scope'))):
        raise InputError(f'report: expected one COCO data set in test_dataloader, got {len(specs)}')
    files = coco_files(specs[0])
    hook.annotations.add(os.path.abspath(files.annotations))
    truth = part_of(read_coco(files.annotations), set(hook.ids), classes)
    kept, known = {one['id'] for one in truth['images']}, {one['id'] for one in truth['categories']}
    truth['annotations'] = [one for one in truth['annotations'] if one['image_id'] in kept and one.get('category_id') in known]
    read_coco.cache_clear()
    write_json(folder / TRUTH, {key: truth[key] for key in ('images', 'annotations', 'categories')})
    found = {}
    for iou_type in TYPES:
        path = folder / f'{PREFIX}.{iou_type}.json'
        if path.is_file():
            found[iou_type] = json.loads(path.read_text())
            path.unlink()
    write_json(folder / DETECTIONS, found)
    return str(files.images.resolve())
