"""What the machine and the options make of a config: norms, rate, workers, weights, precision, test-time augmentation."""

import tempfile

import pytest
import torch
from conftest import SHAPES_COCO
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.run import settle
from convnext_dense.run.options import load_config
from convnext_dense.run.settle import (
    effective_batch,
    settle_norms,
    settle_precision,
    settle_pretrained,
    settle_rate,
    settle_workers,
    short_schedule,
    use_tta,
)


def test_norms_for_one_process(cfg: Config) -> None:
    assert 'SyncBN -> BN (one process)' in settle_norms(cfg, processes=1)
    assert cfg.model.decode_head.norm_cfg.type == cfg.model.auxiliary_head.norm_cfg.type == 'BN'
    assert settle_norms(cfg, processes=1) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_norms_for_two_processes_on_the_cpu(cfg: Config) -> None:
    assert 'SyncBN -> BN (no GPU, each process normalises by its own batch)' in settle_norms(cfg, processes=2)


@pytest.mark.parametrize('value', [0, -4, 2.5, True, '16'])
def test_batches_that_are_none(cfg: Config, value: object) -> None:
    for key, where in (
        ('train_dataloader', 'batch_size'),
        ('optim_wrapper', 'accumulative_counts'),
        ('auto_scale_lr', 'base_batch_size'),
    ):
        stood = cfg[key].get(where)
        cfg[key][where] = value
        with pytest.raises(InputError, match=f'{key}.{where}: expected a whole number from 1 up'):
            settle_rate(cfg, processes=1, scale=True)
        cfg[key][where] = 1 if stood is None else stood


@pytest.mark.parametrize('optimizer', [None, 'AdamW', dict(lr=1e-3), dict(type='AdamW', lr='fast')])
def test_an_optimiser_without_a_rate(cfg: Config, optimizer: object) -> None:
    cfg.optim_wrapper.optimizer = optimizer
    with pytest.raises(InputError, match='optim_wrapper.optimizer: expected a dict with type and a number under lr'):
        settle_rate(cfg, processes=1, scale=False)


def test_rate_follows_the_effective_batch(cfg: Config) -> None:
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.train_dataloader.batch_size = 4
    assert effective_batch(cfg, processes=3)[0] == 24
    assert '--auto-scale-lr makes it 0.003' in settle_rate(cfg, processes=3, scale=False)
    assert cfg.optim_wrapper.optimizer.lr == 1e-3
    assert 'scaled to lr 0.003' in settle_rate(cfg, processes=3, scale=True)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(3e-3)
    assert cfg.auto_scale_lr.enable is False


def test_rate_of_a_config_that_does_not_name_its_batch(cfg: Config) -> None:
    cfg.pop('auto_scale_lr')
    assert 'images a step; lr 0.001' in settle_rate(cfg, processes=1, scale=False)
    with pytest.raises(InputError, match='base_batch_size'):
        settle_rate(cfg, processes=1, scale=True)


def test_workers_are_bounded(cfg: Config) -> None:
    cfg.train_dataloader.num_workers = 1000
    assert 'train_dataloader 1000 -> ' in settle_workers(cfg)
    assert cfg.train_dataloader.num_workers < 1000


def test_loading_processes_need_a_short_temporary_folder(cfg: Config, monkeypatch) -> None:
    settle_workers(cfg)
    monkeypatch.setattr(tempfile, 'tempdir', '/' + 'x' * 100)
    with pytest.raises(InputError, match=r'train_dataloader.num_workers=\d: expected a temporary folder .* at most \d\d bytes'):
        settle_workers(cfg)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].num_workers = 0
    assert settle_workers(cfg) is None


def test_pretrained(cfg: Config) -> None:
    settle_pretrained(cfg, 'a.pth', needed=True)
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='a.pth')
    settle_pretrained(cfg, None, needed=False)
    assert cfg.model.backbone.init_cfg is None
    assert settle_pretrained(cfg, 'none', needed=True) == 'backbone: from scratch'
    cfg.model.backbone.type = 'ResNet'
    with pytest.raises(InputError, match='found none'):
        settle_pretrained(cfg, 'a.pth', needed=True)


def test_tta_needs_its_pipeline(cfg: Config) -> None:
    cfg.model.test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(40, 40))
    assert '3 x 2 views' in use_tta(cfg)
    assert cfg.model.type == 'SegTTAModel' and cfg.model.module.test_cfg == dict(mode='whole', keep_logits=True)
    cfg.pop('tta_pipeline')
    with pytest.raises(InputError, match='tta_pipeline'):
        use_tta(cfg)


@pytest.fixture
def gpu(monkeypatch) -> None:
    """As if there were a GPU with bf16."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)


def test_sync_norms_stay_for_several_gpus(cfg: Config, gpu) -> None:
    assert settle_norms(cfg, processes=2) is None
    assert cfg.model.decode_head.norm_cfg.type == 'SyncBN'


@pytest.mark.parametrize('recipe', ['OptimWrapper', 'AmpOptimWrapper'])
def test_precision_on_a_gpu(cfg: Config, gpu, monkeypatch, recipe: str) -> None:
    cfg.optim_wrapper.type = recipe
    assert (settle_precision(cfg, amp=False) is None) == (recipe == 'OptimWrapper')
    assert 'bfloat16 autocast on CUDA' in settle_precision(cfg, amp=True)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype) == ('AmpOptimWrapper', 'bfloat16')
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: False)
    cfg.optim_wrapper.pop('dtype')
    assert 'float16 autocast on CUDA' in settle_precision(cfg, amp=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_precision_on_the_cpu(cfg: Config, monkeypatch) -> None:
    assert settle_precision(cfg, amp=False) is None
    cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale = 'AmpOptimWrapper', 'dynamic'
    assert 'float32 (the recipe trains in fp16' in settle_precision(cfg, amp=False)
    assert cfg.optim_wrapper.type == 'OptimWrapper' and 'loss_scale' not in cfg.optim_wrapper
    for hardware in (True, False):
        monkeypatch.setattr(settle, 'onednn_computes', lambda dtype, hardware=hardware: hardware)
        line = settle_precision(cfg, amp=True)
        assert 'bfloat16 autocast on the CPU' in line and ('slower than float32' in line) != hardware
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(InputError, match='expected optim_wrapper.type OptimWrapper, got ApexOptimWrapper'):
        settle_precision(cfg, amp=True)


@pytest.mark.parametrize(
    'kind, told',
    [('Adadelta', "lr 1, the optimiser's own"), ('Adafactor', 'lr 0.01, the'), ('Other', "lr is the optimiser's own")],
)
def test_an_optimiser_with_a_rate_of_its_own(cfg: Config, kind: str, told: str) -> None:
    cfg.optim_wrapper.optimizer = dict(type=kind)
    assert told in settle_rate(cfg, processes=1, scale=False)
    assert told in settle_rate(cfg, processes=1, scale=True), 'nothing is to be scaled'
    with pytest.raises(InputError, match='expected a dict with type and a number under lr'):
        settle_rate(cfg, processes=2, scale=True)


@pytest.mark.parametrize('value', ['nonsense', True, 0, -1.0, None, [1]])
def test_loss_scales_that_are_none(cfg: Config, value: object) -> None:
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    for good in ('dynamic', 512, 512.0, dict(init_scale=512.0)):
        cfg.optim_wrapper.loss_scale = good
        settle_precision(cfg, amp=True)
    cfg.optim_wrapper.loss_scale = value
    with pytest.raises(InputError, match="loss_scale: expected 'dynamic', a number above 0, or a dict"):
        settle_precision(cfg, amp=True)


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('tta_model', None, 'expected tta_model and tta_pipeline in the config'),
        ('tta_pipeline', None, 'expected tta_model and tta_pipeline in the config'),
        ('tta_pipeline', [], 'expected tta_model and tta_pipeline in the config'),
        ('tta_model', 5, 'expected tta_model to be a dict'),
        ('tta_pipeline', 5, 'expected tta_pipeline to end in a TestTimeAug'),
        ('tta_pipeline', [dict(type='LoadImageFromFile')], 'to end in a TestTimeAug .* got .*LoadImageFromFile'),
        ('tta_pipeline', [dict(type='TestTimeAug')], 'with lists under transforms'),
        ('tta_pipeline', [dict(type='TestTimeAug', transforms=[5])], 'with lists under transforms'),
    ],
)
def test_what_tta_needs(cfg: Config, key: str, value: object, message: str) -> None:
    cfg[key] = value
    with pytest.raises(InputError, match=f'--tta: .*{message}'):
        use_tta(cfg)


def test_a_checkpoint_in_a_list_of_initialisers_is_dropped_and_the_others_stay() -> None:
    constant, pretrained = dict(type='Constant', val=0.5, layer='Linear'), dict(type='Pretrained', checkpoint='a.pth')
    for given, needed in (('none', True), (None, False)):
        cfg = Config(dict(model=dict(backbone=dict(type='ConvNeXt', init_cfg=[constant, pretrained]))))
        assert settle_pretrained(cfg, given, needed) == ('backbone: from scratch' if needed else None)
        assert cfg.model.backbone.init_cfg == [constant]
    cfg = Config(dict(model=dict(backbone=dict(type='ConvNeXt', init_cfg=[constant, pretrained]))))
    assert settle_pretrained(cfg, None, needed=True) is None and len(cfg.model.backbone.init_cfg) == 2


def test_a_warm_up_that_takes_most_of_the_training_is_named(cfg: Config) -> None:
    assert short_schedule(cfg, 600, 1) is None  # 50 of 2,000
    cfg.train_cfg.max_iters = 60
    line = short_schedule(cfg, 600, 1)
    assert '60 steps in all, of which the warm-up takes 50' in line and 'param_scheduler.0.end=6 ' in line
    coco = load_config(SHAPES_COCO)  # 8 epochs in batches of 4, a warm-up of 100
    assert short_schedule(coco, 600, 1) is None and short_schedule(coco, 100, 1) is None
    assert '56 steps in all' in short_schedule(coco, 25, 1) and '96 steps in all' in short_schedule(coco, 96, 2)
    coco.param_scheduler = None
    assert short_schedule(coco, 25, 1) is None
