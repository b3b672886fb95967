"""Defaults for own data: each set where the command line left it free, with its line."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from conftest import SHAPES
from layout_sets import MASKS, painted, toy, write_coco
from mmengine.config import Config

from convnext_dense.errors import InputError
from convnext_dense.run.fit import DEFAULTS, check_fit_options, class_pixels, fit
from convnext_dense.run.options import load_config
from convnext_dense.run.own_data import settle_own_data

UPERNET, MASK_RCNN = 'upernet_convnext_t_ade20k', 'mask_rcnn_convnext_t_coco'


def fitted(config: str, root: Path, *, splits: dict | None = None, **given) -> tuple[Config, dict[str, str]]:
    """A recipe on a toy set, and the lines by their first words."""
    if not root.exists():
        parts = splits or toy(root.with_name('toy'), 10, size=(400, 300))
        write_coco(root, parts)
    args = Namespace(
        config=config, data=str(root), layout=None, task=None, classes=None, merge=[], ignore=[], val_share=0.2, group_by=None,
        cfg_options={}, auto_scale_lr=False, **DEFAULTS,
    )  # fmt: skip
    vars(args).update(given)
    cfg = load_config(config, args.cfg_options)
    own = settle_own_data(cfg, args)
    lines = fit(cfg, own, args, 1)
    assert all(line.startswith('fit: ') for line in lines)
    return cfg, {line.removeprefix('fit: ').partition(':')[0].split()[0]: line for line in lines}


def test_a_segmentor(tmp_path: Path) -> None:
    cfg, lines = fitted(UPERNET, tmp_path / 'data')
    assert [*lines] == ['crop', 'rate', 'schedule', 'kept', 'stops', 'the']
    assert cfg.model.data_preprocessor.size == (288, 288) == cfg.model.test_cfg.crop_size and cfg.model.test_cfg.stride == (
        192,
        192,
    )
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['RandomResize']['scale'] == (1152, 288) and steps['RandomCrop']['crop_size'] == (288, 288)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (1152, 288)
    assert cfg.optim_wrapper.optimizer.lr == 3.54e-05
    assert cfg.train_cfg.max_iters == 1200 and cfg.train_cfg.val_interval == 60 == cfg.default_hooks.checkpoint.interval
    warm, decay = cfg.param_scheduler
    assert (warm.begin, warm.end, decay.begin, decay.end) == (0, 120, 120, 1200)
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU' and cfg.default_hooks.checkpoint.max_keep_ckpts == 2
    assert [(hook.type, hook.get('patience')) for hook in cfg.custom_hooks] == [('EarlyStoppingHook', 10), ('EMAHook', None)]


def test_a_detector(tmp_path: Path) -> None:
    cfg, lines = fitted(MASK_RCNN, tmp_path / 'data', epochs=18)
    assert [*lines] == ['rate', 'schedule', 'kept', 'stops', 'the'] and '18 epochs of 4 steps (7 pictures' in lines['schedule']
    assert cfg.default_hooks.checkpoint.rule == 'greater' and cfg.auto_scale_lr.base_batch_size == 2
    assert cfg.train_cfg.max_epochs == 18 and cfg.train_cfg.val_interval == 1
    warm, decay = cfg.param_scheduler
    assert warm.end == 7 and decay.milestones == [14, 16] and decay.end == 18
    assert cfg.default_hooks.checkpoint.save_best == 'coco/segm_mAP'


def test_rare_classes_are_shown_more_often(tmp_path: Path) -> None:
    parts = toy(tmp_path / 'toy', 12)
    parts['train'] = [one._replace(polygons=one.polygons[: 2 + (i == 0)]) for i, one in enumerate(parts['train'])]
    cfg, lines = fitted(MASK_RCNN, tmp_path / 'data', splits=parts, repeat_rare=0.5)
    dataset = cfg.train_dataloader.dataset
    assert dataset.type == 'ClassBalancedDataset' and dataset.oversample_thr == 0.5 and dataset.dataset.type == 'CocoDataset'
    assert 'pictures of hazelnut in 1 of 8 are shown more often' in lines['rare']
    cfg, lines = fitted(MASK_RCNN, tmp_path / 'data', repeat_rare=0.0)
    assert cfg.train_dataloader.dataset.type == 'CocoDataset' and 'rare' not in lines


def test_what_the_command_line_sets_stays(tmp_path: Path) -> None:
    given = {
        'model.data_preprocessor.size': (64, 64),
        'optim_wrapper.optimizer.lr': 1e-3,
        'train_cfg.max_iters': 50,
        'default_hooks.checkpoint.max_keep_ckpts': 7,
        'custom_hooks': [],
    }
    cfg, lines = fitted(UPERNET, tmp_path / 'data', cfg_options=given)
    assert [*lines] == ['kept'] and cfg.optim_wrapper.optimizer.lr == 1e-3 and cfg.train_cfg.max_iters == 50
    assert cfg.model.data_preprocessor.size == (64, 64) and not cfg.custom_hooks
    assert cfg.default_hooks.checkpoint.max_keep_ckpts == 7


def test_options(tmp_path: Path) -> None:
    cfg, lines = fitted(UPERNET, tmp_path / 'data', patience=0, no_ema=True, crop=224, epochs=2, auto_scale_lr=True)
    assert [*lines] == ['crop', 'schedule', 'kept'] and cfg.model.data_preprocessor.size == (224, 224)
    assert cfg.train_cfg.max_iters == 8 and not cfg.get('custom_hooks')


def test_accumulated_steps_are_iterations(tmp_path: Path) -> None:
    given = {'optim_wrapper.accumulative_counts': 3}
    root = tmp_path / 'data'
    write_coco(root, toy(tmp_path / 'toy', 10))
    cfg = load_config(UPERNET)
    args = Namespace(
        config=UPERNET, data=str(root), layout=None, task=None, classes=None, merge=[], ignore=[], val_share=0.2, group_by=None,
        cfg_options=given, auto_scale_lr=False, **DEFAULTS | dict(epochs=5),
    )  # fmt: skip
    cfg.optim_wrapper.accumulative_counts = 3
    fit(cfg, settle_own_data(cfg, args), args, 1)
    assert cfg.train_cfg.max_iters == 5 * 2 * 3  # seven pictures, six an update


def test_class_weights(tmp_path: Path) -> None:
    scenes = painted(toy(tmp_path / 'toy', size=(120, 100)))
    MASKS['indices'](tmp_path / 'data', scenes, ('building', 'sky', 'tree'))
    cfg, lines = fitted(SHAPES, tmp_path / 'data', class_weights='auto')
    counts = np.array([sum(int((one.mask == k).sum()) for one in scenes['train']) for k in (1, 2, 3)])
    weights = np.median(counts) / counts
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        assert head.loss_decode.class_weight == pytest.approx(weights.tolist(), abs=1e-3)
    assert f'building {counts[0] / counts.sum():.1%} x {weights[0]:.3g}' in lines['class']


def test_pixels_of_outlines(tmp_path: Path) -> None:
    parts = toy(tmp_path / 'toy', 4)
    write_coco(tmp_path / 'data', parts)
    args = Namespace(
        config=SHAPES, data=str(tmp_path / 'data'), layout=None, task=None, classes=None, merge=[], ignore=[], val_share=0.2,
        group_by=None, cfg_options={}, epochs=None,
    )  # fmt: skip
    counts = class_pixels(settle_own_data(load_config(SHAPES), args))
    expected = [sum(int((one.mask == k).sum()) for one in painted(parts)['train']) for k in range(4)]
    assert counts.tolist() == expected


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        (dict(epochs=0), '--epochs: expected 1 or more, got 0'),
        (dict(patience=-1), '--patience: expected 0 or more'),
        (dict(crop=100), '--crop: expected a multiple of 32 pixels, got 100'),
        (dict(crop=0), '--crop'),
        (dict(repeat_rare=1.5), '--repeat-rare: expected a share'),
        (dict(data=None, no_ema=True), '--no-ema: expected --data DIR with it'),
    ],
)
def test_numbers_that_cannot_be(given: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_fit_options(Namespace(**dict(data='x', **DEFAULTS) | given))
