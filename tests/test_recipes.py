"""The recipes: found in a clone and in a wheel, listed with what their docstrings state."""

import re
from pathlib import Path

import pytest
from conftest import ROOT, SHAPES, call_tool, one_line
from pages import SECTIONS, page

from convnext_dense import recipes


def test_each_file_of_the_folder_is_one() -> None:
    found = recipes.recipes()
    assert recipes.folder() == ROOT / 'configs' and len(found) == 40
    assert list(found) == sorted(path.stem for path in (ROOT / 'configs').glob('*.py'))
    assert recipes.find_recipe('upernet_convnext_atto_shapes') == recipes.find_recipe(Path(SHAPES).name) == Path(SHAPES)


@pytest.mark.parametrize(
    'name', ['', '.py', 'nope', 'configs/upernet_convnext_atto_shapes.py', './upernet_convnext_atto_shapes', SHAPES]
)
def test_what_is_no_name_of_one(name: str) -> None:
    assert recipes.find_recipe(name) is None


def test_in_a_wheel_they_are_in_the_package(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(recipes, 'PACKAGE', tmp_path / 'convnext_dense')
    (tmp_path / 'configs').mkdir()  # somebody else's
    (tmp_path / 'convnext_dense/configs').mkdir(parents=True)
    (tmp_path / 'convnext_dense/configs/one.py').write_text('')
    assert recipes.recipes() == {'one': tmp_path / 'convnext_dense/configs/one.py'}


def test_a_recipe_is_called_by_its_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert recipes.name_of(SHAPES) == recipes.name_of('configs/upernet_convnext_atto_shapes.py') == Path(SHAPES).stem
    for other in ('my.py', 'configs/_base_/runtime.py', str(tmp_path / Path(SHAPES).name)):
        assert recipes.name_of(other) == other


def test_what_docstrings_state(tmp_path: Path) -> None:
    path = tmp_path / 'a.py'
    path.write_text('"""A title.\n\nmIoU 46.0,\nmulti-scale and flip 46.7; more."""\n')
    assert (recipes.title(path), recipes.published_scores(path)) == ('A title', 'mIoU 46.0 / 46.7')
    path.write_text('"""Other: box AP 1.5, mask AP 2.5;"""\n')
    assert (recipes.title(path), recipes.published_scores(path)) == ('Other: box AP 1.5, mask AP 2.5;', 'AP 1.5 / 2.5')
    path.write_text('"Other: multi-scale mIoU 3.5; 7G multiply-adds"\n')
    assert recipes.published_scores(path) == 'mIoU - / 3.5'
    path.write_text('model = dict()\n')
    assert (recipes.title(path), recipes.docstring(path), recipes.published_scores(path)) == ('', '', None)


def test_the_list_has_each_with_the_scores_of_the_page(tool) -> None:
    done = call_tool('configs')
    assert done.returncode == 0 and done.stderr == ''
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in done.stdout.splitlines() if line.startswith('| ')]
    assert rows[0] == ['recipe', 'published', 'what'] and [row[0] for row in rows[1:]] == list(recipes.recipes())
    scores = {name: re.sub('^(mIoU|AP) ', '', score) for name, score, _ in rows[1:] if score != '-'}
    sections = [page('models').table(section) for section in SECTIONS]
    rows_of_page = {row[0].strip('`'): row[column] for rows, column in zip(sections, (2, 1, 2, 1)) for row in rows}
    assert scores == {name: score for name, score in rows_of_page.items() if score != '-'}
    assert all(what for _, _, what in rows) and max(map(len, done.stdout.splitlines())) <= 160
    one_line(*tool('configs', 'more'), 'unrecognized arguments: more; --help lists the options')
