"""Two runs of one recipe are told from two recipes."""

from pathlib import Path

import pytest
from logs import train_row, write_start

from convnext_dense.report.log import read_log
from convnext_dense.report.seeds import seed_alone

FIRST = "work_dir = 'a'\nrandomness = dict(seed=0)\nloader = dict(sets=[dict(data_root='here', flip=0.5)])\n"


@pytest.mark.parametrize(
    ('changes', 'alone'),
    [
        ([('seed=0', 'seed=1')], True),
        ([('seed=0', 'seed=1'), ("'a'", "'b'"), ('here', 'there')], True),
        ([('randomness = dict(seed=0)', '')], True),
        ([], False),
        ([('seed=0', 'seed=1'), ('flip=0.5', 'flip=0.4')], False),
        ([('seed=0', 'seed=1'), ('flip=0.5', 'flip=0.5, crop=3')], False),
        ([("'a'", "'b'")], False),
    ],
)
def test_a_seed_alone(tmp_path: Path, changes: list[tuple[str, str]], alone: bool) -> None:
    second = FIRST
    for old, new in changes:
        second = second.replace(old, new)
    logs = []
    for name, config in (('one', FIRST), ('other', second)):
        write_start(tmp_path / name, '20260101_000000', [train_row(10)], config)
        logs.append(read_log(tmp_path / name))
    assert seed_alone(*logs) is alone
