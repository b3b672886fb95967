"""The cost of a run that is never lost is measured beside MMEngine's."""

import pytest

from convnext_dense.benchmark import run_cost


def cells(table) -> list[list[str]]:
    return [list(column.cells) for column in table.columns]


@pytest.mark.slow
def test_resuming_far_into_a_run_reads_one_batch() -> None:
    names, seconds, read = cells(run_cost.resume_cost(print, done=12))
    assert names == ['ours', 'mmengine'] and all(float(text) > 0 for text in seconds)
    assert read == ['2', '26'], 'two of the step; and two for each iteration that was done'


@pytest.mark.slow
def test_steps_are_timed_in_turn(monkeypatch, capsys) -> None:
    monkeypatch.setattr(run_cost, 'STEPS', 6)
    monkeypatch.setattr(run_cost, 'EVERY', 5)
    rows = cells(run_cost.step_cost(print, rounds=2))
    assert rows[0] == ['ours', 'mmengine'] and float(rows[1][0]) > 0 and rows[4][1] == '1.000'
    assert 'round 2 of 2' in capsys.readouterr().out
