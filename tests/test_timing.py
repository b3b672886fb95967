"""Rivals take turns, the first round is not counted, and a row tells the median and the range."""

from itertools import count

from rich.table import Table

from convnext_dense.benchmark import timing
from convnext_dense.benchmark.timing import Timing, add_rows, interleave
from convnext_dense.text import table_text


def test_rivals_take_turns_after_a_round_that_is_not_counted(monkeypatch) -> None:
    clock, turns = count(), []
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: next(clock) ** 2)  # 5 seconds from reading 2 to 3
    timings, results = interleave({name: lambda name=name: turns.append(name) or len(turns) for name in 'ab'}, 2)
    assert turns == list('ababab') and results == {'a': 5, 'b': 6}
    assert {name: one.seconds for name, one in timings.items()} == {'a': (5, 13), 'b': (9, 17)}


def test_a_row_is_median_range_and_ratio_to_the_first() -> None:
    table = Table('work', 'rival', 'ms', 'range', 'x')
    add_rows(table, 'masks', dict(theirs=Timing((0.4, 0.2, 0.6)), ours=Timing((0.1, 0.2, 0.1))))
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table_text(table).splitlines() if 'masks' in line]
    assert rows == [
        ['masks', 'theirs', '400.0', '200.0 to 600.0', '1.00'],
        ['masks', 'ours', '100.0', '100.0 to 200.0', '4.00'],
    ]
