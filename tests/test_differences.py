"""A resume with another config says each difference, and refuses another model."""

import copy

import pytest
from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop

from convnext_dense import InputError
from convnext_dense.predict.config_text import parse_config
from convnext_dense.run.differences import check_differences


def changed(cfg: Config, **entries) -> Config:
    other = copy.deepcopy(cfg)
    other.merge_from_dict(entries)
    return other


def test_the_config_that_was_written_is_the_same(cfg) -> None:
    before = parse_config(cfg.pretty_text)
    assert check_differences(before, cfg) == [] == check_differences(Config(), cfg)
    elsewhere = changed(cfg, work_dir='other', load_from='a.pth', resume=True, launcher='pytorch', randomness=dict(seed=3))
    elsewhere.train_cfg.type = IterBasedTrainLoop
    assert check_differences(before, elsewhere) == []
    elsewhere.train_cfg.type = 'ResumableIterLoop'
    assert check_differences(before, elsewhere) == []


def test_each_difference_is_said(cfg) -> None:
    before = parse_config(cfg.pretty_text)
    other = changed(cfg, **{'train_dataloader.batch_size': 3, 'optim_wrapper.optimizer.lr': 0.5, 'model.backbone.fused': False})
    other.param_scheduler[0].end = 7
    other.custom_hooks = [dict(type='EMAHook', momentum=0.5)]
    lines = check_differences(before, other)
    assert set(lines) == {
        'resume: train_dataloader.batch_size is 3; the run that is resumed had 8',
        "resume: optim_wrapper.optimizer.lr stays the checkpoint's 0.001; the config has 0.5",
        'resume: model.backbone.fused is False; the run that is resumed had nothing',
        "resume: param_scheduler.0.end stays the checkpoint's 50; the config has 7",
        "resume: custom_hooks.EMAHook.type is 'EMAHook'; the run that is resumed had nothing",
        'resume: custom_hooks.EMAHook.momentum is 0.5; the run that is resumed had nothing',
    }


def test_many_are_counted(cfg) -> None:
    before = parse_config(cfg.pretty_text)
    other = changed(cfg, **{f'val_dataloader.extra_{i}': i for i in range(15)})
    lines = check_differences(before, other)
    assert len(lines) == 13 and lines[-1] == 'resume: 3 more entries differ from the resumed run'


@pytest.mark.parametrize(
    'key, value', [('decode_head.dropout_ratio', 0.5), ('backbone.drop_path_rate', 0.3), ('type', 'Other')]
)
def test_another_model_is_refused(cfg, key: str, value) -> None:
    before = parse_config(cfg.pretty_text)
    with pytest.raises(InputError, match=rf'--resume: expected the model of the run .* model.{key}: expected .*{value}'):
        check_differences(before, changed(cfg, **{f'model.{key}': value}))
    check_differences(before, changed(cfg, **{'model.test_cfg.mode': 'slide'}))
