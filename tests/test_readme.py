"""The README is true and short: its scores are the configs', its rooms the package's, its example prints what it says."""

import io
import re
from contextlib import redirect_stdout

from conftest import ROOT
from pages import DOCS, README, SECTIONS, page


def test_it_is_short() -> None:
    lines = README.path.read_text().splitlines()
    assert len(lines) < 150
    assert [line for line in lines if len(line) > 140] == []


def test_the_rooms_are_all_there() -> None:
    (tree,) = README.blocks('text')
    shown = {name for line in tree.splitlines() for name in re.findall(r'(\w+)/', line[:38])}
    package = {path.parent.name for path in (ROOT / 'convnext_dense').glob('*/__init__.py')}
    assert shown - {'tools', 'convnext_dense'} == package


def test_every_page_is_linked() -> None:
    assert {f'docs/{name}' for name in re.findall(r'\]\(docs/([\w.]+)\)', README.text)} == {p.name for p in DOCS}


def test_the_pages_go_into_the_source_distribution() -> None:
    include = re.search(r'^include = \[(.*)\]$', (ROOT / 'pyproject.toml').read_text(), re.M)[1]
    linked = {name.partition('/')[0] for name in re.findall(r'\]\(([\w/]+(?:\.md)?)\)', README.text)}
    assert linked >= {'docs', 'CHANGELOG.md', 'CONTRIBUTING.md'}
    assert [name for name in linked if f'"{name}"' not in include] == []


def test_the_python_example_prints_what_it_says() -> None:
    (code,) = [block for block in README.blocks('python') if 'print(' in block]
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(code, {})
    assert f'# {printed.getvalue().strip()}' == code.splitlines()[-1]


def test_its_figures_of_speed_are_those_of_the_page() -> None:
    section = README.text.partition('\n## Speed\n')[2].partition('\n## ')[0]
    figures = re.findall(r'\d+\.\d+', section)
    assert len(figures) > 8
    assert [figure for figure in figures if not re.search(rf'(?<![\d.]){re.escape(figure)}(?!\d)', page('speed').text)] == []


def test_its_scores_are_those_of_the_page() -> None:
    scores = dict(README.table('Models'))
    of_page = [row for section in SECTIONS[:2] for row in page('models').table(section)]  # those of the paper
    expected = {row[0]: row[2] if 'ade20k' in row[0] else row[1] for row in of_page}
    assert scores == expected
