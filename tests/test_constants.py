"""The sweep over the kernels' constants, and the table of them in docs/kernels.md."""

import re
from importlib import import_module

import pytest
import torch
from conftest import ROOT

from convnext_dense.benchmark import constants
from convnext_dense.benchmark.constants import SWEEPS, THRESHOLDS, Sweep, Threshold


def test_a_constant_is_tried_at_its_values_and_put_back(monkeypatch) -> None:
    home, seen = dict(key=100), []
    sweep = Sweep('home.key', home, 'key', 'work', lambda: lambda: seen.append(home['key']), (0.5, 1, 2))
    cases = [('small', False, lambda: seen.append('plain'), lambda: seen.append('fast'))]
    monkeypatch.setattr(constants, 'SWEEPS', (sweep,))
    monkeypatch.setattr(constants, 'THRESHOLDS', (Threshold('limit', lambda: iter(cases)),))
    values, sizes = constants.constants(rounds=1)
    assert seen == [50, 100, 200] * 2 + ['plain', 'fast'] * 2  # one round warms up
    assert home == dict(key=100)
    assert values.row_count == 3 and sizes.row_count == 1
    assert list(values.columns[2].cells) == ['50', '100 (ours)', '200']
    assert list(sizes.columns[5].cells) == ['no']


def test_a_constant_is_put_back_after_an_error() -> None:
    home = dict(key=1)
    with pytest.raises(RuntimeError), constants.value_of(Sweep('', home, 'key', '', lambda: lambda: None), 5):
        assert home['key'] == 5
        raise RuntimeError
    assert home['key'] == 1


@pytest.mark.parametrize('sweep', SWEEPS, ids=lambda s: f'{s.name} {s.work}')
def test_the_work_reads_its_constant(sweep: Sweep, monkeypatch) -> None:
    """A step at an impossible value fails, or asks for it: a constant that nothing reads would be swept in vain."""
    small = {128: 16, 64: 8, 32: 4, 16: 2}
    made = constants.image
    monkeypatch.setattr(constants, 'image', lambda b, c, h, w: made(b, c, small.get(h, h), small.get(w, w)))
    randint = torch.randint
    monkeypatch.setattr(torch, 'randint', lambda high, shape: randint(high, (shape[0], shape[1] // 8, shape[2] // 8)))
    step = sweep.build()
    step()
    with constants.value_of(sweep, Unreadable()), pytest.raises(TypeError, match='Unreadable'):
        step()


class Unreadable:
    """A number that is none."""


def test_both_sides_of_each_threshold_are_timed(real_limits) -> None:
    for threshold in THRESHOLDS:
        assert {taken for _, taken, _, _ in threshold.cases()} == {True, False}, threshold.name


@pytest.mark.parametrize('side', [False, True], ids=['plain', 'fast'])
def test_the_two_ways_are_equal_on_either_side(side: bool, real_limits) -> None:
    for threshold in THRESHOLDS:
        label, _, plain, fast = next(case for case in threshold.cases() if case[1] is side)
        a, b = plain(), fast()
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * a.abs().max().item(), msg=f'{threshold.name}, {label}')


def test_the_page_states_the_values_of_the_code(real_limits) -> None:
    rows = re.findall(r'^\| (`[^|]+) \| ([\d, ]+) \|', (ROOT / 'docs/kernels.md').read_text(), re.M)
    assert len(rows) == 9
    for names, values in rows:
        first, *others = re.findall(r'`([\w.]+)`', names)
        module, name = first.split('.')
        stated = [int(value.replace(',', '')) for value in re.split(r', (?=\d)', values.strip())]
        for each, value in zip([name, *others], stated, strict=True):
            ours = getattr(import_module(f'convnext_dense.kernels.{module}'), each)
            assert value in (ours.values() if isinstance(ours, dict) else [ours]), each
