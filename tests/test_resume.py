"""Real processes that are killed at random moments, resumed, and compared bit by bit with undisturbed ones (tests/soak.py)."""

import os
import random

import forked
import pytest
import soak
import torch
from conftest import ROOT
from mmengine.logging import HistoryBuffer


@pytest.mark.slow
@pytest.mark.parametrize(
    'cases',
    [
        ['upernet, 2 workers, AMP, EMA, accumulation', 'upernet, 2 processes'],
        ['mask r-cnn, 2 workers, EMA, accumulation'],
    ],
)
def test_killed_runs_end_with_the_bits_of_undisturbed_ones(cases: list[str], tmp_path) -> None:
    """By SIGKILL or a signal, at any time or during an evaluation; `make soak` kills more, also while a file is written."""
    options = ['--short', '--kills', str(len(cases)), '--cases', *cases]
    done = forked.run([str(ROOT / 'tests/soak.py'), *options], cwd=ROOT, env={**os.environ, 'TMPDIR': str(tmp_path)})
    assert done.returncode == 0, done.stderr[-2000:]
    assert f'{len(cases)} kills survived, {len(cases)} runs bit-equal to undisturbed ones' in done.stdout


def test_every_case_of_the_promise_is_there() -> None:
    names = ' '.join(case.name for case in soak.CASES)
    for word in (
        'upernet',
        'mask r-cnn',
        '2 workers',
        'EMA',
        'AMP',
        'accumulation',
        '2 processes',
        'early stopping',
        'by epochs',
    ):
        assert word in names
    assert {case.workers for case in soak.CASES} >= {0, 2} and len({case.name for case in soak.CASES}) == len(soak.CASES)


def content(value: float = 1.0, loss: float = 2.0, wait: int = 0) -> dict:
    history, times = HistoryBuffer(), HistoryBuffer()
    history.update(loss)
    times.update(random.random())
    return dict(
        state_dict=dict(a=torch.tensor([value, float('nan')]), b=torch.arange(2)),
        message_hub=dict(log_scalars={'train/loss': history, 'train/time': times}),
        resume=dict(early_stopping=[[wait, -1.0]]),
        meta=dict(iter=3, cfg=str(value), time='now'),
    )


@pytest.mark.parametrize(
    'other, key',
    [
        (dict(value=1.0000001), '.state_dict.a'),
        (dict(loss=2.5), '.message_hub.log_scalars.train/loss'),
        (dict(wait=1), '.resume.early_stopping[0][0]'),
    ],
)
def test_a_difference_is_found(tmp_path, other: dict, key: str) -> None:
    """Without this, a fault in the comparison would let everything pass."""
    for name, made in dict(one=content(), same=content(), other=content(**other)).items():
        torch.save(made, tmp_path / name)
    assert soak.differences(tmp_path / 'one', tmp_path / 'same') == (6, [])
    assert soak.differences(tmp_path / 'one', tmp_path / 'other') == (6, [key])
    missing = content()
    del missing['state_dict']['b']
    torch.save(missing, tmp_path / 'missing')
    assert soak.differences(tmp_path / 'one', tmp_path / 'missing')[1] == ['.state_dict.b']


def test_types_and_signs_count() -> None:
    assert not soak.same(torch.tensor([0.0]), torch.tensor([-0.0])) and not soak.same(torch.ones(2), torch.ones(2).double())
    assert not soak.same(1, True) and not soak.same(1, 1.0) and soak.same(float('nan'), float('nan'))
