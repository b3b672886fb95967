"""The option --fsdp: what it makes of a config, and what it refuses."""

from argparse import Namespace

import pytest
from conftest import SHAPES, one_line
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.run.sharding import settle_sharding

TWO = Namespace(fsdp=True, launcher='pytorch')


def config(**given) -> Config:
    hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
    return Config(dict(default_hooks=hooks, optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3))) | given)


@pytest.fixture(autouse=True)
def two_processes(monkeypatch) -> None:
    monkeypatch.setenv('WORLD_SIZE', '2')


def test_the_model_is_wrapped() -> None:
    cfg = config()
    assert settle_sharding(cfg, Namespace(fsdp=False)) == [] and 'model_wrapper_cfg' not in cfg
    (line,) = settle_sharding(cfg, TWO)
    assert line == 'fsdp: weights, gradients and optimiser state are divided among 2 processes'
    assert cfg.model_wrapper_cfg == dict(type='ShardedModel')


def test_bfloat16_needs_no_scaler() -> None:
    wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale='dynamic', optimizer=dict(type='AdamW', lr=1e-3))
    cfg = config(optim_wrapper=wrapper)
    settle_sharding(cfg, TWO)
    assert cfg.optim_wrapper == dict(type='Bf16OptimWrapper', optimizer=wrapper['optimizer'])


def test_one_process_is_refused(monkeypatch) -> None:
    with pytest.raises(InputError, match='--fsdp: expected --launcher and 2 or more processes, .* got 1; start with torchrun'):
        settle_sharding(config(), Namespace(fsdp=True, launcher='none'))
    monkeypatch.setenv('WORLD_SIZE', '1')
    with pytest.raises(InputError, match='2 or more processes'):
        settle_sharding(config(), TWO)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(custom_hooks=[dict(type='EMAHook')]), 'expected no average of the weights, got EMAHook; .* or give --no-ema'),
        (dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook'))), 'expected SafeCheckpointHook .*, got none; take it'),
        (dict(find_unused_parameters=True), 'expected no find_unused_parameters, got find_unused_parameters=True; leave out'),
        (dict(compile=True), 'expected no compile'),
        (dict(model_wrapper_cfg=dict(type='Other')), 'expected no model_wrapper_cfg of another type, got Other'),
        (dict(optim_wrapper=dict(a=dict(type='OptimWrapper'))), 'expected one optimizer under optim_wrapper, got none'),
        (
            dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16', optimizer={})),
            'expected float32, or bfloat16 .*, got optim_wrapper.dtype float16',
        ),
    ],
)
def test_what_does_not_go_with_it(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=f'^--fsdp: {message}'):
        settle_sharding(config(**given), TWO)


def test_from_the_command_line(tool, shapes: str, monkeypatch) -> None:
    monkeypatch.delenv('WORLD_SIZE')
    one_line(*tool('train', SHAPES, '--data-root', shapes, '--fsdp'), '--fsdp: expected --launcher and 2 or more processes')
