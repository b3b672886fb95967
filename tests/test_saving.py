"""Runs of the tools save by SafeCheckpointHook."""

from argparse import ArgumentParser, Namespace

import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from convnext_dense.errors import InputError
from convnext_dense.run.saving import add_saving_options, checkpoint_root, is_main, settle_checkpoints


def settled(minutes: float | None = None, **entries) -> tuple[Config, list[str]]:
    cfg = Config(entries)
    return cfg, settle_checkpoints(cfg, Namespace(save_every_minutes=minutes))


@pytest.mark.parametrize('cls', ['CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook])
def test_mmengines_hook_becomes_the_safe_one(cls) -> None:
    cfg, lines = settled(default_hooks=dict(checkpoint=dict(type=cls, interval=7), logger=dict(type='LoggerHook')))
    assert cfg.default_hooks.checkpoint == dict(type='SafeCheckpointHook', interval=7) and lines == []
    assert cfg.default_hooks.logger == dict(type='LoggerHook')
    cfg, _ = settled(custom_hooks=[dict(type=cls, interval=2)], default_hooks=dict(checkpoint=None))
    assert cfg.custom_hooks[0].type == 'SafeCheckpointHook' and cfg.default_hooks.checkpoint is None


def test_the_default_that_a_config_leaves_out() -> None:
    for entries in ({}, dict(default_hooks=dict(logger=None))):
        cfg, _ = settled(**entries)
        assert cfg.default_hooks.checkpoint == dict(type='SafeCheckpointHook', interval=1)


@pytest.mark.parametrize('entry', [dict(out_dir='s3://bucket'), dict(backend_args=dict(a=1)), dict(file_client_args=dict(a=1))])
def test_other_hooks_and_stores_stay(entry: dict) -> None:
    for hook in (dict(type='CheckpointHook', **entry), dict(type='MyHook')):
        cfg, lines = settled(default_hooks=dict(checkpoint=hook))
        assert cfg.default_hooks.checkpoint == hook and lines == []
        with pytest.raises(InputError, match='--save-every-minutes: expected a CheckpointHook with a local folder'):
            settled(5, default_hooks=dict(checkpoint=hook))


def test_where_checkpoints_are_written() -> None:
    for hook, root in [
        (dict(type='CheckpointHook', out_dir='a'), 'a'),
        (dict(type='SafeCheckpointHook', out_dir='a'), 'a'),
        (dict(type='SafeCheckpointHook'), None),
        (dict(type='CheckpointHook', out_dir='s3://a'), None),
        (dict(type='LoggerHook', out_dir='a'), None),
    ]:
        assert checkpoint_root(Config(dict(default_hooks=dict(checkpoint=hook, timer=None)))) == root
        assert checkpoint_root(Config(dict(custom_hooks=[hook]))) == root
    assert checkpoint_root(Config()) is None


def test_minutes() -> None:
    cfg, lines = settled(2.5, default_hooks=dict(checkpoint=dict(type='CheckpointHook')))
    assert cfg.default_hooks.checkpoint.save_every_minutes == 2.5
    assert lines == ['checkpoints: also after every 2.5 minutes without one']


@pytest.mark.parametrize(
    ('text', 'value'), [('5', 5.0), ('0.5', 0.5), ('0', None), ('-1', None), ('inf', None), ('nan', None), ('x', None)]
)
def test_the_option(text: str, value: float | None, capsys) -> None:
    parser = ArgumentParser()
    add_saving_options(parser)
    assert parser.parse_args([]).save_every_minutes is None
    if value is not None:
        assert parser.parse_args(['--save-every-minutes', text]).save_every_minutes == value
        return
    with pytest.raises(SystemExit):
        parser.parse_args([f'--save-every-minutes={text}'])
    assert f'expected minutes, a number above 0, got {text!r}' in capsys.readouterr().err


def test_the_first_process(monkeypatch) -> None:
    for launcher, name in (('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')):
        monkeypatch.delenv(name, raising=False)
        assert is_main(launcher)
        monkeypatch.setenv(name, '1')
        assert not is_main(launcher) and is_main('none')
        monkeypatch.setenv(name, '0')
        assert is_main(launcher)
