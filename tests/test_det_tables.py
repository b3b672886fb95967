"""Tables of confusions: of a few classes, of many, of unusual names."""

import re

import numpy as np

from convnext_dense.report.det_tables import MOST, confusion_section, number


def cells(html: str) -> list[list[str]]:
    """The text of the rows of the last table."""
    rows = re.findall('<tr>(.*?)</tr>', html.rpartition('<table')[2])
    return [[re.sub('<.*?>', '', cell) for cell in re.findall('<t[dh]>(.*?)</t[dh]>', row)] for row in rows]


def test_a_few_classes() -> None:
    html = confusion_section(np.array([[5, 3, 2], [0, 0, 1], [0, 4, 0]]), ['<b>&', 'dog'])
    assert '<b>&<' not in html and html.count('30.0%') == 1
    assert cells(html) == [
        ['', '&lt;b&gt;&amp;', 'dog', 'missed'],
        ['&lt;b&gt;&amp;', '5', '3', '2'],
        ['dog', '', '', '1'],
        ['background', '', '4', ''],
    ]


def test_of_many_classes_the_most_confused_are_shown() -> None:
    counts = np.diag([*[10] * (MOST + 5), 0])
    for one in range(5):
        counts[one, 30] = 7
    counts[3, -1], counts[-1, 2], counts[34, -1] = 3, 4, 5
    html = confusion_section(counts, [f'c{i}' for i in range(MOST + 5)])
    rows = cells(html)
    assert len(rows) == MOST + 3 and {len(row) for row in rows} == {MOST + 3}
    assert rows[0][1:7] == ['c0', 'c1', 'c2', 'c3', 'c4', 'c5'] and rows[0][-3:] == ['c30', 'other classes', 'missed']
    assert rows[4][-3:] == ['7', '', '3'] and rows[-2][-2:] == ['50', '5'] and rows[-1][3] == '4'
    total = sum(int(cell) for row in rows[1:] for cell in row[1:] if cell)
    assert total == counts.sum()


def test_nothing() -> None:
    assert cells(confusion_section(np.zeros((2, 2), int), ['cat'])) == [
        ['', 'cat', 'missed'],
        ['cat', '', ''],
        ['background', '', ''],
    ]
    assert number(float('nan')) == '-' and number(0.12345) == '0.123'
