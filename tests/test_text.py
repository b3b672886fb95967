"""Suggestions, lists of names and tables."""

import pytest
from rich.table import Table

from convnext_dense.text import listed, suggest, table_text


@pytest.mark.parametrize(
    'given, known, words',
    [
        ('drop_path_rat', ['arch', 'drop_path_rate'], "did you mean 'drop_path_rate'?"),
        ('zzz', ['beta', 'alpha'], 'expected one of: alpha, beta'),
        ('1', [10, 200], "did you mean '10'?"),
        ('a', [], 'expected one of: '),
    ],
)
def test_the_nearest_name_or_all_of_them(given: str, known: list, words: str) -> None:
    assert suggest(given, known) == words


@pytest.mark.parametrize(
    'names, words',
    [
        ([], ''),
        (['a', 2], 'a, 2'),
        (list('abcdefgh'), 'a, b, c, d, e, f, g, h'),
        (list('abcdefghij'), 'a, b, c, d, e, f, g, h and 2 more'),
        (['a\nb'], r"'a\nb'"),
        (['x' * 301], repr('x' * 300)),
    ],
    ids=['none', 'of other types', 'as many as are shown', 'more', 'of two lines', 'long'],
)
def test_names_on_one_line(names: list, words: str) -> None:
    assert listed(names) == words


def test_a_table_is_plain_text() -> None:
    table = Table('what', 'value')
    table.add_row('width', '3')
    lines = table_text(table).splitlines()
    assert table_text(table).isascii() and all(line == line.rstrip() for line in lines[-1:])
    assert [[cell.strip() for cell in line.strip('|').split('|')] for line in (lines[1], lines[3])] == [
        ['what', 'value'],
        ['width', '3'],
    ]


def test_a_wide_table_is_not_wrapped() -> None:
    table = Table('path')
    table.add_row('x' * 150)
    assert 'x' * 150 in table_text(table)
