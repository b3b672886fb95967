"""Parts of a config that must agree, each on its own."""

from types import SimpleNamespace

import pytest
from conftest import needs_lite
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from mmengine.visualization import LocalVisBackend
from torch import nn
from torch.utils.data import DataLoader

from convnext_dense import InputError
from convnext_dense.run.agreement import (
    check_backend,
    check_custom_keys,
    check_extras,
    check_loop_kind,
    check_monitors,
    check_operators,
)

NAMES = ('aAcc', 'mIoU')


def test_hooks_and_schedulers_wait_for_what_is_measured() -> None:
    fine = [CheckpointHook(save_best=best, rule='greater') for best in ('mIoU', ['aAcc', 'mIoU'], 'auto')]
    check_monitors([*fine, EarlyStoppingHook('aAcc'), EarlyStoppingHook('loss', rule='less')], None, NAMES)
    for hooks, schedulers, words in (
        (
            [EarlyStoppingHook('mIuO', rule='greater')],
            None,
            "EarlyStoppingHook.monitor: expected one of aAcc, mIoU; got 'mIuO'",
        ),
        ([CheckpointHook(save_best=['mIoU', 'acc'], rule='greater')], None, "save_best: expected one of aAcc, mIoU; got 'acc'"),
        ([], [SimpleNamespace(monitor='x')], "SimpleNamespace.monitor: expected one of aAcc, mIoU; got 'x'"),
    ):
        with pytest.raises(InputError, match=words):
            check_monitors(hooks, schedulers, NAMES)


@pytest.mark.parametrize(
    'keys, fits', [({}, True), ({'1.bias': {}}, True), ({'x': {}, 'weight': {}}, True), ({'x': {}}, False)]
)
def test_custom_keys_are_parts_of_names(keys: dict, fits: bool) -> None:
    cfg = Config(dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys=keys))))
    model = nn.Sequential(nn.Identity(), nn.Linear(1, 1))
    if fits:
        check_custom_keys(cfg, model)
        return
    with pytest.raises(InputError, match='custom_keys: expected parts of parameter names, got x: none matches'):
        check_custom_keys(cfg, model)


def loop(kind: type, sampler: type):
    made = kind.__new__(kind)
    made.dataloader = DataLoader([1, 2], sampler=sampler([1, 2]))
    return made


@pytest.mark.parametrize(
    'split, kind, sampler, words',
    [
        ('train', IterBasedTrainLoop, InfiniteSampler, None),
        ('train', EpochBasedTrainLoop, DefaultSampler, None),
        ('val', ValLoop, DefaultSampler, None),
        ('test', TestLoop, DefaultSampler, None),
        ('train', EpochBasedTrainLoop, InfiniteSampler, 'train_dataloader.sampler: .* for EpochBasedTrainLoop; got InfiniteS'),
        ('test', TestLoop, InfiniteSampler, 'test_dataloader.sampler: expected one that ends'),
        ('train', ValLoop, DefaultSampler, 'train_cfg: expected a loop for train, got ValLoop'),
        ('val', TestLoop, DefaultSampler, 'val_cfg: expected a loop for val, got TestLoop'),
        ('test', ValLoop, DefaultSampler, 'test_cfg: expected a loop for test, got ValLoop'),
    ],
)
def test_loops_and_samplers(split: str, kind: type, sampler: type, words: str | None) -> None:
    if words is None:
        check_loop_kind(split, loop(kind, sampler))
        return
    with pytest.raises(InputError, match=words):
        check_loop_kind(split, loop(kind, sampler))


@pytest.mark.parametrize(
    'backend, words',
    [
        (dict(type='LocalVisBackend'), None),
        (dict(type=LocalVisBackend, img_save_dir='x'), None),
        ('LocalVisBackend', None),
        (dict(type='LocalVisBackend', no=1), "expected the arguments of LocalVisBackend, got {'no': 1}"),
        (dict(type='WandbVisBackend'), 'expected the package wandb for WandbVisBackend; pip install wandb'),
        (dict(type='Nonsense'), "expected types such as LocalVisBackend, got 'Nonsense'"),
        (dict(), 'expected types such as LocalVisBackend, got None'),
        (dict(type=5), 'expected types such as LocalVisBackend, got 5'),
    ],
)
def test_backends_of_a_visualizer(backend, words: str | None, monkeypatch) -> None:
    monkeypatch.setattr('convnext_dense.run.agreement.find_spec', lambda package: None)
    if words is None:
        check_backend(backend)
        return
    with pytest.raises(InputError, match=words):
        check_backend(backend)


@pytest.mark.parametrize(
    'given, words',
    [
        (dict(), None),
        (dict(activation_checkpointing=['0', '1.0'], efficient_conv_bn_eval='0', compile=True), None),
        (dict(compile=dict(backend='inductor')), None),
        (dict(compile=dict(backend=len)), None),
        (dict(activation_checkpointing=['2']), "activation_checkpointing: expected names of modules, got '2'"),
        (dict(activation_checkpointing=[0]), r'activation_checkpointing: expected names of modules, as .*, got \[0\]'),
        (dict(efficient_conv_bn_eval=5), 'efficient_conv_bn_eval: expected names of modules, as .*, got 5'),
        (dict(compile=dict(backend='inductr')), "compile.backend: expected one of .*inductor.*; got 'inductr'"),
        (dict(compile='yes'), "compile: expected True, False or a dict .* got 'yes'"),
    ],
    ids=str,
)
def test_what_the_runner_does_to_the_model(given: dict, words: str | None) -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    if words is None:
        check_extras(Config(given), model)
        return
    with pytest.raises(InputError, match=words):
        check_extras(Config(given), model)


@needs_lite
def test_operators_that_nobody_answers() -> None:
    from mmcv.ops import BorderAlign

    check_operators(nn.Conv2d(1, 1, 1))
    with pytest.raises(
        InputError, match=r'got border_align_backward and 1 more \(mmcv.ops.border_align.BorderAlign\); install'
    ):
        check_operators(nn.Sequential(BorderAlign(3)))
