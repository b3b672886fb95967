"""The README is true: its files exist, its table is the configs' docstrings, its example prints what it says."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from convnext_dense.benchmark.complexity import published_figures

README = (ROOT / 'README.md').read_text()


def test_files_that_it_names_exist() -> None:
    named = set(re.findall(r'\b(?:configs|tools|convnext_dense)/[\w/]+\.py\b', README))
    assert len(named) >= 8
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_make_targets_that_it_names_exist() -> None:
    makefile = (ROOT / 'Makefile').read_text()
    for target in re.findall(r'make (\w+)', README):
        assert re.search(rf'^{target}:', makefile, re.M), target


PUBLISHED = {  # what a config's docstring states, and the cell of the table that says the same
    'ade20k': (r'mIoU ([\d.]+), multi-scale and flip ([\d.]+);', 2),
    'coco': (r'box AP ([\d.]+), mask AP ([\d.]+);', 1),
}


@pytest.mark.parametrize(
    'path', sorted([*ROOT.glob('configs/*_ade20k.py'), *ROOT.glob('configs/*_coco.py')]), ids=lambda path: path.stem
)
def test_published_columns_equal_the_docstrings(path) -> None:
    kind = path.stem.rpartition('_')[2]
    pattern, first = PUBLISHED[kind]
    (row,) = [line for line in README.splitlines() if f'`{path.stem}`' in line and line.startswith('|')]
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    figures = published_figures(path)
    docstring = ' '.join(ast.get_docstring(ast.parse(path.read_text())).split())
    one, two = re.search(pattern, docstring).groups()
    assert cells[first : first + 3] == [f'{one} / {two}', f'{figures.params} M', f'{figures.macs} G']
    assert float(cells[first + 3].split()[0]) == pytest.approx(figures.params, abs=0.5)
    assert float(cells[first + 4].split()[0]) == pytest.approx(figures.macs, rel=0.01)


def test_the_python_example_prints_what_it_says() -> None:
    code = re.search(r'In Python:\n\n((?:    .*\n)+)', README)[1].replace('\n    ', '\n').removeprefix('    ')
    expected = re.search(r'# (\[\(1.*)', code)[1]
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected
