"""Defaults that fit own data: what a recipe for 20,000 pictures says is scaled to what there is, each with a line for the log.

An entry that --cfg-options sets stays as it was set.
"""

from __future__ import annotations

import argparse
import math
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from mmengine.config import Config

from convnext_dense.data.check_coco import spread
from convnext_dense.data.check_ignored import heads
from convnext_dense.data.layouts.class_masks import ClassMasks
from convnext_dense.data.pipeline import steps
from convnext_dense.errors import InputError
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.run.own_data import OwnData
from convnext_dense.run.own_options import SEMANTIC
from convnext_dense.run.settle import WARM_UPS, effective_batch
from convnext_dense.text import listed

STEPS = 4000  # of a run on own data, where the number of epochs is not given
EPOCHS = (12, 300)  # the fewest and the most that this makes
VALIDATIONS = 20  # of a run
KEPT = 2  # last checkpoints beside the best
PATIENCE = 10  # validations without a better score
RARE = 0.1  # share of the pictures below which a class is shown more often
LIMITS = (0.1, 10.0)  # of a class's weight
SAMPLE = 500  # masks whose pixels are counted


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Options of what `fit` sets."""
    group = parser.add_argument_group('fitting to own data')
    group.add_argument(
        '--epochs', type=int, metavar='N', help=f'default: about {STEPS} steps, {EPOCHS[0]} to {EPOCHS[1]} epochs'
    )
    group.add_argument('--patience', type=int, default=PATIENCE, metavar='N', help='validations without a better score; 0: off')
    group.add_argument('--no-ema', action='store_true', help='validate and keep the weights themselves, not their average')
    group.add_argument('--crop', type=int, metavar='N', help='of a segmentor; default: no larger than the pictures')
    group.add_argument('--class-weights', choices=['auto', 'off'], default='off', help='of a segmentor, by measured shares')
    group.add_argument(
        '--repeat-rare', type=float, default=RARE, metavar='SHARE', help='of a detector: classes in fewer pictures; 0: off'
    )


DEFAULTS: dict[str, Any] = dict(epochs=None, patience=PATIENCE, no_ema=False, crop=None, class_weights='off', repeat_rare=RARE)


SET_BY = dict(crop='model.data_preprocessor.size', patience='custom_hooks', no_ema='custom_hooks')


def check_fit_options(args: Namespace) -> None:
    """Stop at numbers that cannot be."""
    for name, default in DEFAULTS.items():
        if args.data is None and getattr(args, name) != default:
            raise InputError(f'--{name.replace("_", "-")}: expected --data DIR with it; a recipe says it itself')
    if args.epochs is not None and args.epochs < 1:
        raise InputError(f'--epochs: expected 1 or more, got {args.epochs}')
    if args.patience < 0:
        raise InputError(f'--patience: expected 0 or more validations, got {args.patience}')
    if args.crop is not None and (args.crop < MIN_SIDE or args.crop % MIN_SIDE):
        raise InputError(f'--crop: expected a multiple of {MIN_SIDE} pixels, got {args.crop}')
    if not 0 <= args.repeat_rare <= 1:
        raise InputError(f'--repeat-rare: expected a share from 0 to 1, got {args.repeat_rare:g}')


def fit(cfg: Config, own: OwnData, args: Namespace, processes: int) -> list[str]:
    """Change the config for the data; the lines say what was set, and how it is set otherwise."""
    foreign = ('repeat_rare',) if own.task == SEMANTIC else ('crop', 'class_weights')
    for name in foreign:
        if getattr(args, name) != DEFAULTS[name]:
            kind = 'detector' if own.task == SEMANTIC else 'segmentor'
            raise InputError(f'--{name.replace("_", "-")}: expected a {kind}, which {args.config} is not; leave it out')
    free = Free(args.cfg_options or {})
    for name, key in SET_BY.items():
        if getattr(args, name) != DEFAULTS[name] and not free(key):
            raise InputError(f'--{name.replace("_", "-")} and --cfg-options {key}: expected one of the two, got both')
    lines: list[str | None] = []
    if own.task == SEMANTIC:
        lines += [_crop(cfg, own, args.crop, free), _class_weights(cfg, own, args.class_weights, free)]
    else:
        lines.append(_repeat(cfg, own, args.repeat_rare, free))
    lines.append(_rate(cfg, processes, args.auto_scale_lr, free))
    total, every = _schedule(cfg, own, args.epochs, processes, free, lines)
    lines += [_best(cfg, own, every, free), _patience(cfg, own, args.patience, free), _ema(cfg, args.no_ema, total, free)]
    return [f'fit: {line}' for line in lines if line]


class Free:
    """Whether the command line left an entry of the config to us."""

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        self.keys = [*overrides]

    def __call__(self, key: str) -> bool:
        return not any(one == key or one.startswith(f'{key}.') or key.startswith(f'{one}.') for one in self.keys)


def _score(cfg: Config, own: OwnData) -> str:
    """The metric that a model of this kind is known by."""
    if own.task == SEMANTIC:
        return 'mIoU'
    metrics = next((node['metric'] for node in steps(cfg.get('val_evaluator')) if 'metric' in node), ['bbox'])
    return 'coco/segm_mAP' if 'segm' in metrics else 'coco/bbox_mAP'


def _crop(cfg: Config, own: OwnData, given: int | None, free: Free) -> str | None:
    """The crop, and the short side that pictures are brought to, no larger than the pictures' own."""
    size = cfg.model.get('data_preprocessor', {}).get('size')
    if size is None or not free('model.data_preprocessor.size'):
        return None
    short = int(median(min(picture.size) for picture in own.parts['train']))
    wanted = given or max(MIN_SIDE, min(min(size), short // MIN_SIDE * MIN_SIDE))
    if wanted == min(size):
        return f'crop: {wanted}, as of the recipe; the pictures have {short} pixels on their short side'
    ratio = wanted / min(size)
    crop = (wanted, wanted)
    cfg.model.data_preprocessor.size = crop
    test = cfg.model.get('test_cfg') or {}
    if test.get('mode') == 'slide':
        test['stride'] = tuple(max(1, round(one * ratio)) for one in test['stride'])
        test['crop_size'] = crop
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'tta_pipeline'):
        for step in steps(cfg.get(part) or {}):
            if 'crop_size' in step and step is not test:
                step['crop_size'] = crop
            if isinstance(step.get('scale'), (list, tuple)):
                step['scale'] = tuple(round(one * ratio) for one in step['scale'])
    return f'crop: {wanted}, where the recipe has {min(size)}: the pictures have {short} pixels on their short side; --crop N'


def _class_weights(cfg: Config, own: OwnData, how: str, free: Free) -> str | None:
    if how == 'off' or not free('model.decode_head.loss_decode'):
        return None
    counts = class_pixels(own)
    if not counts.sum():
        raise InputError('--class-weights auto: expected pixels of the classes in the training masks, found none')
    shares = counts / counts.sum()
    known = shares[shares > 0]
    raw = np.where(shares > 0, float(np.median(known)) / np.maximum(shares, 1e-12), 1.0)
    weights = [round(float(w), 3) for w in np.clip(raw, *LIMITS)]
    for _, head in heads(cfg):
        for loss in head['loss_decode'] if isinstance(head['loss_decode'], (list, tuple)) else [head['loss_decode']]:
            if str(loss.get('type')).endswith('CrossEntropyLoss'):
                loss['class_weight'] = weights
    rows = [f'{name} {share:.1%} x {weight:g}' for name, share, weight in zip(own.found.classes, shares, weights)]
    return f'class weights: the median share over the own, {LIMITS[0]:g} to {LIMITS[1]:g}: {listed(rows, 20)}'


def class_pixels(own: OwnData) -> np.ndarray:
    """Pixels of each class in the training masks; of many, a sample's."""
    class_mask, counts = ClassMasks(own.found), np.zeros(256, np.int64)
    for picture in spread(own.parts['train'], SAMPLE):
        mask = class_mask(picture)
        if mask is not None:
            counts += np.bincount(mask.ravel(), minlength=256)
    return counts[: len(own.found.classes)]


def _repeat(cfg: Config, own: OwnData, share: float, free: Free) -> str | None:
    """Repeat factor sampling (arXiv 1908.03195): a picture is shown by the root of `share` over that of its rarest class."""
    if not share or not free('train_dataloader.dataset'):
        return None
    train = own.parts['train']
    counts = Counter(label for picture in train for label in {one.label for one in picture.objects})
    rare = {label: count for label, count in counts.items() if count < share * len(train)}
    if not rare:
        return None
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ClassBalancedDataset', oversample_thr=share, dataset=inner)
    rows = [f'{own.found.classes[label]} in {count}' for label, count in sorted(rare.items())]
    return f'rare classes: pictures of {listed(rows)} of {len(train)} are shown more often; --repeat-rare 0 turns it off'


def _rate(cfg: Config, processes: int, linear: bool, free: Free) -> str | None:
    """By the root of the batch, as Adam's steps go (arXiv 2205.10287); --auto-scale-lr goes by the batch itself."""
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    optimizer = cfg.optim_wrapper.get('optimizer') or {}
    if linear or not base or 'lr' not in optimizer or not free('optim_wrapper.optimizer.lr'):
        return None
    total, _ = effective_batch(cfg, processes)
    if total == base:
        return None
    before, optimizer['lr'] = optimizer['lr'], float(f'{optimizer["lr"] * math.sqrt(total / base):.3g}')
    cfg.auto_scale_lr.base_batch_size = total
    return (
        f'rate: {before:g} of {base} images a step became {optimizer["lr"]:g} of {total}, by the root; '
        '--cfg-options optim_wrapper.optimizer.lr=RATE'
    )


def _schedule(
    cfg: Config, own: OwnData, epochs: int | None, processes: int, free: Free, lines: list[str | None]
) -> tuple[int, int]:
    """Length, warm-up and decay for the pictures that there are; all steps, and the steps or epochs between validations."""
    batch, _ = effective_batch(cfg, processes)
    # A detector's data set leaves out pictures without objects.
    count = sum(bool(picture.objects) or own.task == SEMANTIC for picture in own.parts['train'])
    per_epoch = max(1, math.ceil(count / batch))
    loop, accumulated = cfg.train_cfg, cfg.optim_wrapper.get('accumulative_counts', 1)
    by_epoch = 'max_epochs' in loop
    key = 'max_epochs' if by_epoch else 'max_iters'
    before = loop[key]
    if not free(f'train_cfg.{key}'):
        if epochs is not None:
            raise InputError(f'--epochs and --cfg-options train_cfg.{key}: expected one of the two, got both')
        every = loop.get('val_interval', 1)
        return (before * per_epoch if by_epoch else before), every
    epochs = epochs or min(max(round(STEPS / per_epoch), EPOCHS[0]), EPOCHS[1])
    iterations = epochs * per_epoch * accumulated
    loop[key] = epochs if by_epoch else iterations
    every = max(1 if by_epoch else per_epoch * accumulated, loop[key] // VALIDATIONS)
    if free('train_cfg.val_interval'):
        loop['val_interval'] = every
    if free('param_scheduler'):
        _scale_schedulers(cfg, loop[key] / before, iterations)
    warm = next((one['end'] for one in _schedulers(cfg) if one.get('type') in WARM_UPS and not one.get('by_epoch', True)), 0)
    lines.append(
        f'schedule: {epochs} epochs of {per_epoch} steps ({count} pictures, {batch} a step), {warm} '
        f'iterations of warm-up, a validation every {loop["val_interval"]} {"epochs" if by_epoch else "iterations"}; --epochs N'
    )
    return iterations, loop['val_interval']


def _schedulers(cfg: Config) -> Sequence[dict[str, Any]]:
    given = cfg.get('param_scheduler') or []
    return given if isinstance(given, list) else [given]


def _scale_schedulers(cfg: Config, ratio: float, iterations: int) -> None:
    """Each where it was, relative to the whole; the warm-up at most a tenth of it."""
    moved: dict[int, int] = {}
    for one in _schedulers(cfg):
        if one.get('type') in WARM_UPS and not one.get('by_epoch', True):
            before = one.get('end', 0)
            one['end'] = moved[before] = max(1, min(before, iterations // 10))
            continue
        for key in ('begin', 'end', 'T_max'):
            if isinstance(one.get(key), int):
                one[key] = moved.get(one[key], max(int(key != 'begin'), round(one[key] * ratio)))
        if 'milestones' in one:
            one['milestones'] = sorted({max(1, round(at * ratio)) for at in one['milestones']})
        if one.get('T_max') and one.get('end'):
            one['T_max'] = one['end'] - one.get('begin', 0)


def _best(cfg: Config, own: OwnData, every: int, free: Free) -> str | None:
    hook = cfg.get('default_hooks', {}).get('checkpoint')
    if not isinstance(hook, dict) or not cfg.get('val_dataloader'):
        return None
    score = _score(cfg, own)
    for key, value in dict(interval=every, save_best=score, rule='greater', max_keep_ckpts=KEPT).items():
        if free(f'default_hooks.checkpoint.{key}'):
            hook[key] = value
    return f'kept: the best checkpoint by {hook["save_best"]}, and the last {hook["max_keep_ckpts"]}'


def _patience(cfg: Config, own: OwnData, patience: int, free: Free) -> str | None:
    if not patience or not free('custom_hooks') or not cfg.get('val_dataloader'):
        return None
    score = _score(cfg, own)
    hook = dict(type='EarlyStoppingHook', monitor=score, rule='greater', patience=patience, min_delta=0.0)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    return f'stops after {patience} validations without a better {score}; --patience N, 0 for never'


def _ema(cfg: Config, off: bool, total: int, free: Free) -> str | None:
    """An average of the weights over about a twentieth of the run."""
    if off or not free('custom_hooks') or any(one.get('type') == 'EMAHook' for one in cfg.get('custom_hooks') or []):
        return None
    momentum = float(f'{min(0.1, max(0.0002, 20 / total)):.2g}')
    options = dict(ema_type='MomentumAnnealingEMA', momentum=momentum, gamma=max(1, total // 40), update_buffers=True)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='EMAHook', **options)]
    return f'the average of the weights is validated and kept (momentum {momentum:g}); --no-ema'
