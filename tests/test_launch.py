"""How many processes there are, and what a launcher needs."""

import sys
from argparse import Namespace

import pytest
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.run.launch import prepare
from convnext_dense.run.settle import world_size

NAMES = ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    for name in (*NAMES, 'RANK', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)


def options(**given) -> Namespace:
    return Namespace(**dict(launcher='none', local_rank=0, seed=None) | given)


@pytest.mark.parametrize('name', NAMES)
def test_processes_without_a_launcher(name: str, monkeypatch) -> None:
    assert world_size() == 1
    monkeypatch.setenv(name, '1')
    prepare(Config(dict(model={})), options())
    monkeypatch.setenv(name, '3')
    assert world_size() == 3
    with pytest.raises(InputError, match='expected --launcher pytorch .* for 3 processes, got --launcher none'):
        prepare(Config(dict(model={})), options())


@pytest.mark.parametrize('text', ['0', '-2', 'two', '2.5'])
def test_a_number_of_processes_that_is_none(text: str, monkeypatch) -> None:
    monkeypatch.setenv('SLURM_NTASKS', text)
    with pytest.raises(InputError, match='SLURM_NTASKS in the environment: expected the number of processes'):
        world_size()


@pytest.mark.parametrize(
    'called, start',
    [
        ('tools/test.py', 'torchrun --nproc_per_node N tools/test.py …'),
        ('convnext-dense test', 'torchrun --nproc_per_node N --no-python convnext-dense test …'),
    ],
)
def test_the_launcher_needs_its_environment(called: str, start: str, monkeypatch) -> None:
    monkeypatch.setattr(sys, 'argv', [called])
    with pytest.raises(InputError, match=f'--launcher pytorch: expected RANK in the environment; start with {start}$'):
        prepare(Config(dict(model={})), options(launcher='pytorch'))


@pytest.mark.parametrize('seed, own, expected', [(None, 7, 7), (3, 7, 3), (None, None, None)])
def test_the_seed_of_the_option_or_of_the_config(seed, own, expected) -> None:
    cfg = Config(dict(model={}, **({} if own is None else dict(randomness=dict(seed=own, deterministic=True)))))
    prepare(cfg, options(seed=seed))
    assert cfg.randomness.seed == expected and cfg.randomness.get('deterministic', False) == (own is not None)
    assert [hook.type for hook in cfg.custom_hooks] == ['ProgressBarHook'] and cfg.launcher == 'none'


@pytest.mark.parametrize('key', ['deterministic', 'diff_rank_seed'])
def test_switches_of_randomness(key: str) -> None:
    with pytest.raises(InputError, match=f"randomness.{key}: expected true or false, got 'yes'"):
        prepare(Config(dict(model={}, randomness={key: 'yes'})), options())
    with pytest.raises(InputError, match='--seed and --cfg-options randomness.seed: expected one of the two'):
        prepare(Config(dict(model={})), options(seed=1, cfg_options={'randomness.seed': 2}))


@pytest.mark.parametrize(
    'given, message',
    [
        (dict(RANK='x', LOCAL_RANK='0'), "RANK in the environment: expected a number from 0 to 1, below WORLD_SIZE, got 'x'"),
        (dict(RANK='2', LOCAL_RANK='0'), "^RANK .* got '2'; start with torchrun"),
        (dict(RANK='-1', LOCAL_RANK='0'), "^RANK .* got '-1'"),
        (dict(RANK='1', LOCAL_RANK='x'), "^LOCAL_RANK .* got 'x'"),
        (dict(RANK='1', LOCAL_RANK=''), "^LOCAL_RANK .* got ''"),
    ],
)
def test_ranks_that_are_none(given: dict, message: str, monkeypatch) -> None:
    for name, value in dict(WORLD_SIZE='2', **given).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        prepare(Config(dict(model={})), options(launcher='pytorch'))
