"""The room by name in a config of MMDetection as it is: its model, its runner, five lines of ours."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import needs_lite
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

STOCK = """
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
pipeline = _base_.train_pipeline
pipeline[2].scale = (96, 96)
model = dict(backbone=dict(init_cfg=None), bbox_head=dict(num_classes=5, stacked_convs=1, feat_channels=16))
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    dataset=dict(
        data_root={root!r},
        ann_file='instances_training.json',
        data_prefix=dict(img='images/training'),
        metainfo=dict(classes=('disc', 'square', 'triangle', 'star', 'ring')),
        pipeline=pipeline,
    ),
)
val_dataloader = val_cfg = val_evaluator = test_dataloader = test_cfg = test_evaluator = None
"""
FIVE_LINES = """
custom_imports = dict(imports=['convnext_dense.training.register'])
train_cfg = dict(type='ResumableEpochLoop', max_epochs=2)
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=1))
custom_hooks = [dict(type='StopHook'), dict(type='FiniteHook'), dict(type='BadPicturesHook')]
randomness = dict(seed=3)
"""


class Losses(Hook):
    def __init__(self) -> None:
        self.found: dict[int, float] = {}

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.found[runner.iter] = float(outputs['loss'])


@needs_lite
@pytest.mark.slow
def test_a_stock_config_with_five_lines(shapes: str, tmp_path: Path) -> None:
    """It goes on from within an epoch to the same bits."""
    register_all_modules(init_default_scope=True)
    (tmp_path / 'stock.py').write_text(STOCK.format(root=shapes) + FIVE_LINES)
    cfg = Config.fromfile(tmp_path / 'stock.py')
    cfg.train_cfg.pop('val_interval')
    cfg.log_level = 'ERROR'

    def trained(name: str, resume: str | None = None) -> tuple[Runner, Losses]:
        own, losses = copy.deepcopy(cfg), Losses()
        own.merge_from_dict(dict(work_dir=str(tmp_path / name), experiment_name=name, load_from=resume, resume=bool(resume)))
        made = Runner.from_cfg(own)
        made.register_hook(losses)
        made.train()
        return made, losses

    whole, losses = trained('whole')
    assert len(losses.found) == 6
    again, more = trained('again', str(tmp_path / 'whole/iter_2.pth'))
    assert more.found == {i: loss for i, loss in losses.found.items() if i >= 2}
    other = again.model.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in whole.model.state_dict().items())
    assert (tmp_path / 'again/last_checkpoint').read_text() == str(tmp_path / 'again/iter_6.pth')
