"""The plugin inside MMDetection and MMSegmentation as they are: their models, their entry scripts, their start-up."""

import os
import subprocess
import sys
from pathlib import Path

import forked
import mmdet
import mmseg
import pytest
import torch
from conftest import ROOT, UNFORMATTED, needs_lite
from mmengine.registry import MODELS, init_default_scope
from zoo_cases import STEPS, try_model
from zoo_detectors import TRIED

from convnext_dense import ConvNeXt

INSTALLED = any(Path(folder, 'convnext_dense_autoload.pth').is_file() for folder in sys.path)
installed = pytest.mark.skipif(not INSTALLED, reason='convnext_dense is not pip-installed here')


@pytest.mark.slow
@pytest.mark.parametrize('name', TRIED)
def test_a_detector_of_mmdet_trains_and_predicts(name: str) -> None:
    """With objects, with objects in one image of two, with none at all; then a prediction at an odd size."""
    reached: list[str] = []
    try_model(TRIED[name], stock=False, report=reached.append)
    assert reached == ['built', *STEPS, 'predicts']


def test_a_head_of_mmseg_that_takes_views_of_its_maps() -> None:
    """DMNet's dynamic filters, loss and prediction."""
    init_default_scope('mmseg')
    backbone = ConvNeXt(dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)))
    head = dict(
        type='DMHead', in_channels=32, in_index=3, channels=8, num_classes=3, filter_sizes=(1, 3), norm_cfg=dict(type='BN')
    )
    head = MODELS.build(head)
    out = head(backbone(torch.randn(2, 3, 65, 97)))
    out.square().mean().backward()
    assert out.shape == (2, 3, 2, 3) and backbone.stem.weight.grad.abs().sum() > 0
    assert head.eval()(backbone.eval()(torch.randn(1, 3, 64, 64))).shape == (1, 3, 2, 2)


def python(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    """A process that imports everything itself, as a user's does."""
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': UNFORMATTED, **env},
        timeout=600,
    )


MMDET_CONFIG = """
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['convnext_dense'])

model = dict(
    backbone=dict(_delete_=True, type='ConvNeXt', arch='atto'),
    neck=dict(in_channels=[40, 80, 160, 320]),
    bbox_head=dict(num_classes=5, stacked_convs=1, feat_channels=64),
)
pipeline = _base_.test_pipeline
pipeline[1].scale = (96, 96)
data = dict(
    data_root={root!r},
    metainfo=dict(classes=('disc', 'square', 'triangle', 'star', 'ring')),
)
loader = dict(num_workers=0, persistent_workers=False)
train = dict(ann_file='instances_training.json', data_prefix=dict(img='images/training'), pipeline=pipeline, **data)
val = dict(ann_file='instances_validation.json', data_prefix=dict(img='images/validation'), pipeline=pipeline, **data)
train_dataloader = dict(dataset=train, **loader)
val_dataloader = dict(dataset=val, **loader)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={root!r} + '/instances_validation.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
"""

MMSEG_CONFIG = """
_base_ = ['mmseg::_base_/models/upernet_r50.py', 'mmseg::_base_/default_runtime.py']
custom_imports = dict(imports=['convnext_dense', 'convnext_dense.segmentation.shapes_dataset'])

norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(size=(96, 96)),
    pretrained=None,
    backbone=dict(_delete_=True, type='ConvNeXt', arch='atto'),
    decode_head=dict(in_channels=[40, 80, 160, 320], channels=32, num_classes=6, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=160, channels=16, num_classes=6, norm_cfg=norm_cfg),
)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
crop = [dict(type='RandomCrop', crop_size=(96, 96))]
pack = [dict(type='PackSegInputs')]
loader = dict(num_workers=0, persistent_workers=False)
data = dict(type='ShapesDataset', data_root={root!r})
train = dict(
    data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'), pipeline=load + crop + pack, **data
)
val = dict(
    data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'), pipeline=load + pack, **data
)
train_dataloader = dict(batch_size=2, sampler=dict(type='InfiniteSampler', shuffle=True), dataset=train, **loader)
val_dataloader = dict(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False), dataset=val, **loader)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
"""


def stock_run(package, config: str, root: str, folder: Path, last: str, more: str) -> None:
    """Train, test the checkpoint and resume, by the entry scripts that the package ships, away from the repository.

    The processes have imported what others wrote, but neither MMCV, the package nor this one: the start-up's finder is asked.
    """
    scripts = Path(package.__file__).parent / '.mim' / 'tools'
    (folder / 'my_config.py').write_text(config.format(root=root))
    work_dir = folder / 'work_dirs' / 'my_config'
    for script, args in (
        ('train.py', ['my_config.py']),
        ('test.py', ['my_config.py', str(work_dir / last)]),
        ('train.py', ['my_config.py', '--resume', '--cfg-options', more]),
    ):
        done = forked.run([str(scripts / script), *args], bare=True, cwd=folder)
        assert done.returncode == 0, (script, args, done.stderr[-3000:])
    assert 'resumed epoch' in done.stdout + done.stderr


@pytest.mark.slow
@installed
@pytest.mark.parametrize(
    'package, config, last, more',
    [
        (mmdet, MMDET_CONFIG, 'epoch_1.pth', 'train_cfg.max_epochs=2'),
        (mmseg, MMSEG_CONFIG, 'iter_2.pth', 'train_cfg.max_iters=3'),
    ],
    ids=['mmdet', 'mmseg'],
)
def test_stock_entry_scripts(package, config: str, last: str, more: str, shapes: str, tmp_path) -> None:
    stock_run(package, config, shapes, tmp_path, last, more)


@pytest.mark.slow
def test_a_stock_entry_script_from_a_clone(shapes: str, tmp_path) -> None:
    (tmp_path / 'my_config.py').write_text(MMDET_CONFIG.format(root=shapes))
    script = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'train.py'
    env = dict(PYTHONPATH=f'{ROOT}{os.pathsep}{UNFORMATTED}', CONVNEXT_DENSE_AUTOLOAD='0')
    done = python('-m', 'convnext_dense', str(script), 'my_config.py', cwd=tmp_path, **env)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'work_dirs' / 'my_config' / 'epoch_1.pth').is_file()


def test_running_a_script_that_is_not_there(tmp_path) -> None:
    code = 'import runpy; runpy.run_module("convnext_dense", run_name="__main__", alter_sys=True)'
    done = forked.run(['-c', code, 'nowhere.py'], bare=True, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith('error: expected a Python script, got nowhere.py')


@installed
def test_start_up_imports_nothing_but_the_finder(tmp_path) -> None:
    # Before the file system, where a compiled mmcv._ext would be.
    first = "next(f for f in sys.meta_path if hasattr(f, 'answers') or getattr(f, '__name__', '') == 'PathFinder')"
    code = f'import sys; print({first}.answers, *{{m.split(".")[0] for m in sys.modules}})'
    answers, *loaded = python('-c', code, cwd=tmp_path).stdout.split()
    assert answers == 'mmcv._ext'
    assert not set(loaded) & {'convnext_dense', 'torch', 'numpy', 'mmcv', 'mmengine'}


@pytest.mark.slow
@installed
@needs_lite
@pytest.mark.parametrize('switch', ['1', '0'])
def test_the_switch(switch: str, tmp_path) -> None:
    code = 'import mmcv.ops, sys; print("convnext_dense" in sys.modules)'
    done = python('-c', code, cwd=tmp_path, CONVNEXT_DENSE_AUTOLOAD=switch)
    if switch == '1':
        assert done.stdout.strip() == 'True', done.stderr
    else:
        assert done.returncode != 0 and "No module named 'mmcv._ext'" in done.stderr
