"""What the benchmark prints and draws follows from the figures."""

import json

from convnext_dense.benchmark import contest
from convnext_dense.benchmark.contest import OURS, Entry, Outcome
from convnext_dense.benchmark.report import chart, limit_line, table
from convnext_dense.text import table_text


def outcome() -> Outcome:
    entries = {
        OURS: Entry([1.0, 2.0, 3.0], 'channels last', 2**30, 2**29),
        'other': Entry([3.0, 3.0, 6.0], 'channels first', 2**31, 2**30),
    }
    missing = {'third': "No module named 'third'"}
    return Outcome(
        'backbone', entries, missing, {'other': 1e-6}, flops=10**9, limit=Entry([2 * contest.LIMIT_SIDE**3 / 1e9], '')
    )


def test_table_and_chart(tmp_path):
    text = table_text(table([outcome()]))
    row = next(line for line in text.splitlines() if '| other' in line)
    assert [cell.strip() for cell in row.strip('|').split('|')] == [
        'backbone T, inference', 'other', 'first', '3.000', '3.000 to 6.000', '1.50', '2.00', '0.50', '1.00', '0.50'
    ]  # fmt: skip
    assert '| third' in text and 'not' in text
    assert '0.50 of the 1 GFLOP/s' in limit_line(outcome())
    chart([outcome(), outcome()], tmp_path / 'chart.png')
    assert (tmp_path / 'chart.png').stat().st_size > 5000
    assert json.loads(json.dumps(outcome().as_dict()))['entries'][OURS]['seconds'] == [1.0, 2.0, 3.0]
