"""Everything a run needs is built before its work directory: what the libraries refuse, or take and cannot use, is one line."""

import os
import re
from pathlib import Path

import forked
import pytest
from conftest import QUICK, ROOT, SHAPES, SHAPES_COCO, one_line
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from convnext_dense import InputError
from convnext_dense.run.classes import settle_coco
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta
from convnext_dense.run.rehearsal import check_parts, rehearse
from convnext_dense.run.settle import settle_norms, settle_pretrained

TRAINING = ('train', 'val')
EPOCHS = dict(type='DefaultSampler', shuffle=True)


def settled(path: str, root: str, **changes) -> Config:
    """A config as tools/train.py hands it over, with changes that no override could make."""
    cfg = load_config(path, QUICKLY, root)
    if path == SHAPES_COCO:
        settle_coco(cfg, ('train_dataloader', 'val_dataloader'))
    settle_norms(cfg, 1)
    settle_pretrained(cfg, None, needed=True)
    cfg.model.backbone.arch = dict(depths=(1, 1, 1, 1), dims=(40, 80, 160, 320))  # atto's maps, of fewer blocks
    if path == SHAPES:
        cfg.model.decode_head.pool_scales = (1, 2)
    for key, value in changes.items():
        *above, last = key.split('.')
        node = cfg._cfg_dict
        for part in above:
            node = node[int(part)] if part.isdigit() else node[part]
        node[int(last) if last.isdigit() else last] = value
    return cfg


LOADING = dict(num_workers=0, persistent_workers=False)
QUICKLY = {f'{name}_dataloader.{key}': value for name in TRAINING for key, value in LOADING.items()}


UNMATCHED = {
    'optim_wrapper.constructor': 'DefaultOptimWrapperConstructor',
    'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(nothing=dict(lr_mult=2))),
}


def message(cfg: Config, splits=TRAINING) -> str:
    with pytest.raises(InputError) as caught:
        check_parts(cfg, splits)
        rehearse(cfg, build_on_meta(cfg), splits)
    return str(caught.value)


@pytest.mark.parametrize('path', [SHAPES, SHAPES_COCO])
def test_the_recipes_pass_and_nothing_is_left_of_the_rehearsal(path: str, shapes: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    cfg = settled(path, shapes)
    datasets = rehearse(cfg, build_on_meta(cfg), TRAINING)
    assert {name: len(dataset) for name, dataset in datasets.items()} == {'train_dataloader': 6, 'val_dataloader': 5}
    assert list(tmp_path.iterdir()) == []
    held = Path('/proc/self/fd')  # log files that are still open
    assert not [fd for fd in (held.iterdir() if held.is_dir() else ()) if str(tmp_path) in os.path.realpath(fd)]
    kinds = (MMLogger, MessageHub, Visualizer, DefaultScope)
    assert not any('rehearsal' in name for kind in kinds for name in kind._instance_dict)
    assert 'work_dir' not in cfg and cfg.visualizer.vis_backends


@pytest.mark.parametrize(
    'changes, expected',
    [
        # What the libraries refuse.
        ({'optim_wrapper.optimizer.lr': -1}, 'optim_wrapper.optimizer.lr: expected a finite number from 0 up, got -1'),
        ({'optim_wrapper.optimizer.type': 'Adamm'}, 'optim_wrapper: .*Adamm is not in'),
        ({'optim_wrapper.optimizer.betas': (2, 2)}, 'optim_wrapper: .*beta'),
        ({'optim_wrapper.accumulative_counts': 0}, 'optim_wrapper: .*accumulative'),
        ({'train_dataloader.batch_size': 0}, 'train_dataloader: .*positive integer'),
        ({'train_dataloader.num_workers': -1}, 'train_dataloader: .*non-negative'),
        ({'train_dataloader.sampler.type': 'Nonsense'}, 'train_dataloader: .*Nonsense is not in'),
        ({'param_scheduler.1.begin': 5000}, 'param_scheduler: .*begin=5000, end=2000'),
        ({'train_dataloader.dataset.pipeline.2.crop_size': (0, 0)}, 'train_dataloader: .*crop_size.0. > 0.*does not hold'),
        ({'val_evaluator.iou_metrics': ['mNonsense']}, "val_evaluator: .*'mNonsense'"),
        ({'val_dataloader.dataset.pipeline.2.meta_keys': ('ori_shape',)}, 'with img_shape, .*got ori_shape;'),
        # What shows when it runs: pipelines, losses, targets, metrics.
        ({'train_dataloader.dataset.pipeline.1': dict(type='RandomFlip', prob=0.5)}, 'cannot be trained: .*gt_sem_seg'),
        ({'val_dataloader.dataset.pipeline.1': dict(type='RandomFlip', prob=0.0)}, 'cannot judge a prediction: .*gt_sem_seg'),
        ({'model.decode_head.loss_decode.class_weight': [1.0, 2.0]}, 'cannot be trained: RuntimeError: weight tensor'),
        ({'val_evaluator.iou_metrics': []}, 'expected iou_metrics such as'),
        ({'custom_hooks': [dict(type='EMAHook', momentum=2)]}, 'EMAHook: cannot be built .*momentum must be in range'),
        # What must agree.
        ({'default_hooks.checkpoint.save_best': 'mIoUx'}, "save_best: expected one of aAcc, mIoU, mAcc; got 'mIoUx'"),
        ({'train_cfg': dict(type='EpochBasedTrainLoop', max_epochs=1)}, 'sampler: expected one that ends'),
        ({'val_cfg': dict(type='TestLoop')}, 'val_cfg: expected a loop for val, got TestLoop'),
        ({'param_scheduler.0.by_epoch': True}, 'expected by_epoch=False in LinearLR'),
        ({'param_scheduler.1.eta_min': 5.0}, "expected eta_min from 0 to the optimiser's"),
        ({'param_scheduler.1.end': 200}, 'expected rates above 0 up to the last iteration, 2000; got 0 from iteration'),
        ({'compile': dict(backend='nonsense')}, 'compile.backend: expected one of .*inductor'),
        (UNMATCHED, 'custom_keys: expected parts of parameter names, got nothing'),
        ({'randomness': dict(seed=-1)}, 'randomness: .*between 0 and'),
        ({'log_level': 'LOUD'}, 'log_level: '),
        ({'default_hooks.logger.interval': 'x'}, 'default_hooks.logger.interval: expected int, as LoggerHook takes it'),
        ({'visualizer.vis_backends': [dict(type='Nonsense')]}, "vis_backends: .*'Nonsense'"),
        ({'model.backbone.init_cfg.distribution': 'nonsense'}, 'init_cfg of ConvNeXt: .*distribution'),
        ({'model.data_preprocessor.mean': [1, 2]}, 'model.data_preprocessor: .*size of tensor'),
        # What they take, and no run can use.
        ({'optim_wrapper.optimizer.lr': 0}, 'lr: expected more than 0'),
        ({'optim_wrapper.accumulative_counts': 1.5}, 'accumulative_counts: expected int'),
        ({'optim_wrapper.clip_grad.max_norm': 0}, 'max_norm: expected a finite number above 0, got 0'),
        ({'train_dataloader.num_workers': 0.5}, 'num_workers: expected a whole number from 0 up, got 0.5'),
        ({'train_cfg.max_iters': 0}, 'max_iters: expected a whole number from 1 up, got 0'),
        ({'train_cfg.val_interval': 0}, 'val_interval: expected a whole number from 1 up, got 0'),
        ({'param_scheduler.1.power': -3.0}, 'param_scheduler: expected a power above 0 in PolyLR, got -3.0'),
        ({'param_scheduler': [dict(type='StepLR', gamma=-2.0, step_size=3, by_epoch=False)]}, 'got -0.004 at iteration 4'),
        ({'default_hooks.checkpoint.interval': 0}, 'CheckpointHook.interval: expected a whole number from 1 up, or -1'),
        ({'model.decode_head.norm_cfg.momentum': 3}, 'momentum: expected a number from 0 to 1, got 3'),
        ({'model.data_preprocessor.std': [0, 0, 0]}, 'expected images of finite numbers.*std=.0, 0, 0.'),
        ({'model.backbone.in_channels': 4}, 'model.backbone.in_channels: expected 3, the channels of the images.*got 4'),
        ({'val_dataloader.dataset.pipeline': []}, 'val_dataloader.dataset.pipeline: expected samples with inputs'),
        ({'train_dataloader.batch_size': 9, 'train_dataloader.drop_last': True, 'train_dataloader.sampler': EPOCHS},
         'expected at least one batch a process, got 6 images for 1 at 9 a batch'),
        # A part that is missing.
        ({'optim_wrapper': None}, 'expected dicts under .*; optim_wrapper is missing'),
        ({'val_cfg': None, 'val_evaluator': 'x'}, 'val_cfg, val_evaluator are missing'),
        ({'model': 'tiny'}, 'model is missing or no dict'),
    ],
    ids=lambda value: ','.join(f'{key}={given}' for key, given in value.items())[:60] if isinstance(value, dict) else '',
)  # fmt: skip
def test_wrong_parts(changes: dict, expected: str, shapes: str) -> None:
    found = message(settled(SHAPES, shapes, **changes))
    assert re.search(expected, found), found


@pytest.mark.parametrize(
    'changes, expected',
    [
        ({'model.rpn_head.anchor_generator.strides': (4, 8)}, 'anchor_generator: expected strides for 5 maps, got 2'),
        ({'model.roi_head.bbox_head.in_channels': 63}, 'model, on an image of .* pixels of train_dataloader: .*reduction dim'),
        ({'model.roi_head.mask_head.in_channels': 63}, 'model, on an image of .* pixels of train_dataloader: .*channel'),
        (
            {'model.roi_head.bbox_roi_extractor.out_channels': 63},
            r'bbox_roi_extractor: expected out_channels and featmap_strides .*\[64, 64, 64, 64, 64\] channels; got .*63',
        ),
        (
            {'train_dataloader.dataset.filter_cfg': dict(filter_empty_gt=True, min_size=10**6)},
            'got none that',
        ),
        ({'model.rpn_head.anchor_generator.ratios': []}, r'model.rpn_head.rpn_cls.weight: expected weights, got none'),
        ({'model.roi_head.mask_roi_extractor.roi_layer.output_size': 7}, 'mask_size: expected 14, the side of the masks'),
        ({'model.train_cfg.rcnn.sampler.num': 0}, 'sampler.num: expected a whole number from 1 up, got 0'),
        ({'model.test_cfg.rcnn.nms.iou_threshold': 7}, 'iou_threshold: expected a share from 0 to 1, got 7'),
        ({'model.test_cfg.rpn.nms.type': 'a b'}, "nms.type: expected a function of mmcv.ops.*got 'a b'"),
        ({'model.test_cfg.rcnn.score_thr': -0.5}, 'score_thr: expected a share from 0 to 1, got -0.5'),
        ({'model.neck.num_outs': 2**31}, 'num_outs: expected a number of at most 2147483647'),
        ({'default_hooks.checkpoint.max_keep_ckpts': 0}, 'max_keep_ckpts: expected a whole number from 1 up, or -1 for all'),
        ({'val_evaluator.ann_file': 'nowhere.json'}, 'ann_file: expected a COCO annotation file, got nowhere.json'),
        (
            {'val_dataloader.dataset.pipeline.3.meta_keys': ('img_id', 'ori_shape')},
            'meta_keys .* with img_shape, scale_factor',
        ),
        (
            {'val_dataloader.dataset.pipeline.3.meta_keys': ('ori_shape', 'img_shape', 'scale_factor')},
            'meta_keys .* with img_id',
        ),
        (
            {'train_dataloader.dataset.pipeline.4.meta_keys': ()},
            'train_dataloader.*meta_keys .* with img_shape.*got none',
        ),
        ({'model.rpn_head.bbox_coder.target_stds': [[], []]}, 'model.rpn_head.bbox_coder: '),
        ({'model.roi_head.bbox_head.bbox_coder.target_stds': [0.0] * 4}, 'bbox_head.bbox_coder: expected four .*stds above 0'),
        ({'train_dataloader.dataset.pipeline.1.with_mask': False}, 'cannot be trained: .*masks'),
        ({'train_dataloader.dataset.pipeline.1.with_bbox': False}, 'cannot be trained: .*bboxes'),
        ({'model.rpn_head.anchor_generator.strides': [8, 16, 32, 64, 128]}, 'strides: expected 4 for map 0, of 48 .*got 8'),
        ({'model.rpn_head.anchor_generator.scales': [-8]}, 'anchor_generator.scales.0: expected a number above 0, got -8'),
        ({'model.roi_head.bbox_roi_extractor.featmap_strides': [4, 8, 16, 64]}, 'featmap_strides: expected 32 for map 3'),
        ({'model.train_cfg.rcnn.sampler.pos_fraction': 0.0}, 'pos_fraction: expected a share above 0'),
        ({'model.train_cfg.rpn.assigner.pos_iou_thr': 0.1}, 'expected pos_iou_thr of at least neg_iou_thr'),
        ({'default_hooks.checkpoint.save_best': 'coco/bbox_mAPx'}, 'save_best: expected one of coco/bbox_mAP, '),
        ({'train_cfg.max_epochs': 2.5}, 'max_epochs: expected int'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_wrong_parts_of_a_detector(changes: dict, expected: str, shapes: str) -> None:
    found = message(settled(SHAPES_COCO, shapes, **changes))
    assert re.search(expected, found), found


def test_a_detector_without_masks(shapes: str) -> None:
    cfg = settled(SHAPES_COCO, shapes)
    cfg.model.type = 'FasterRCNN'
    for key in ('mask_head', 'mask_roi_extractor'):
        cfg.model.roi_head.pop(key)
    cfg.val_evaluator.metric = 'bbox'
    assert list(rehearse(cfg, build_on_meta(cfg), TRAINING)) == ['train_dataloader', 'val_dataloader']


def test_training_without_validation(shapes: str) -> None:
    cfg = settled(SHAPES, shapes, val_dataloader=None, val_cfg=None, val_evaluator=None)
    check_parts(cfg, TRAINING)
    assert list(rehearse(cfg, build_on_meta(cfg), TRAINING)) == ['train_dataloader']


def test_test_time_augmentation_is_rehearsed_too(shapes: str) -> None:
    from convnext_dense.run.settle import use_tta

    cfg = settled(SHAPES, shapes)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    model = build_on_meta(cfg)
    use_tta(cfg)
    assert list(rehearse(cfg, model, ('test',))) == ['test_dataloader']
    cfg.model.module.data_preprocessor.std = [0, 0, 0]
    with pytest.raises(InputError, match='finite numbers, got NaN or infinity from the first of test_dataloader'):
        rehearse(cfg, model, ('test',))


def test_no_work_directory_is_made(tool, shapes: str, tmp_path) -> None:
    work_dir = tmp_path / 'run'
    args = [SHAPES, '--data-root', shapes, '--work-dir', str(work_dir), '--cfg-options', *QUICK, 'train_cfg.val_interval=0']
    one_line(*tool('train', *args), 'train_cfg.val_interval: expected a whole number')
    assert not work_dir.exists() and Path(shapes).exists()


@pytest.mark.slow
def test_a_command_that_builds_the_parts_knows_those_of_a_runs_own_config() -> None:
    """Also where nothing of training was imported before, as by `test` of a work directory's config."""
    code = 'import convnext_dense.commands.test; from mmengine.registry import HOOKS; print(HOOKS.get("SafeCheckpointHook"))'
    done = forked.run(['-c', code], bare=True, cwd=ROOT)
    assert 'convnext_dense.training.checkpoint_hook' in done.stdout, done.stderr
