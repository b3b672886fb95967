"""The layering that the README shows: a room imports rooms below it alone, and no two files import each other."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

# From the ground up; a room does not import its neighbours on the same floor either.
FLOORS = [
    {'errors', 'text', 'version', 'expect', 'files', 'recipes'},
    {'kernels', 'mmcv_ext'},
    {'models', 'ops'},
    {'weights', 'data'},
    {'training', 'segmentation', 'detection'},
    {'run'},
    {'predict'},
    {'export'},
    {'benchmark', 'report'},
    {'commands'},
]
FILES = sorted((ROOT / 'convnext_dense').rglob('*.py'))


def imports(path: Path) -> list[str]:
    """Dotted names of what a file imports, at its head or within functions; `from a import b` gives a.b."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f'{node.module}.{alias.name}' for alias in node.names]
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT / 'convnext_dense').with_suffix('').parts[0]


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize('path', [p for p in FILES if room(p) not in ('__init__', '__main__')], ids=lambda p: p.stem)
def test_a_room_imports_rooms_below_it_alone(path: Path) -> None:
    used = {name.split('.')[1] for name in imports(path) if name.startswith('convnext_dense.')} - {room(path)}
    assert not [name for name in used if floor(name) >= floor(room(path)) > 0]


def test_no_files_import_each_other() -> None:
    modules = {'.'.join(p.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): p for p in FILES}
    graph = {}
    for module, path in modules.items():
        names = {n if n in modules else n.rpartition('.')[0] for n in imports(path)}
        graph[module] = (names & set(modules)) - {module}
    TopologicalSorter(graph).prepare()  # raises CycleError with the files


@pytest.mark.parametrize('path', sorted((ROOT / 'convnext_dense/kernels').glob('*.py')), ids=lambda p: p.stem)
def test_the_kernels_need_torch_alone(path: Path) -> None:
    standard = {'__future__', 'collections', 'contextlib', 'dataclasses', 'functools', 'math', 'typing'}
    assert {name.split('.')[0] for name in imports(path)} <= standard | {'torch', 'convnext_dense'}


def test_what_is_imported_is_found() -> None:
    """Without this, a fault in `imports` would let everything pass."""
    found = imports(ROOT / 'convnext_dense/models/convnext.py')
    assert {'torch', 'torch.nn.functional', 'convnext_dense.kernels.pointwise.pointwise_mlp'} <= set(found)


TESTS = sorted((ROOT / 'tests').glob('test_*.py'))
# Of tests that are of no one file of a room: commands, start-up, configs, pages, what is installed, the rules of the house.
OTHERS = [
    'checkpoint',
    'cli',
    'compiled_operators',
    'configs',
    'docs',
    'fuzz',
    'guards',
    'plugin',
    'private_operators',
    'readme',
    'resume',
    'rooms',
    'slurm',
    'tools',
    'tools_coco',
    'wheel',
    'zoo',
]
NAMES = {path.stem.strip('_') for path in FILES if room(path) != 'commands'} - {'init'}


@pytest.mark.parametrize('name', sorted(NAMES))
def test_every_file_has_a_test_file_of_its_name(name: str) -> None:
    """One file where two rooms have a file of the same name."""
    path = ROOT / 'tests' / f'test_{name}.py'
    assert path.is_file() and 'def test_' in path.read_text()


@pytest.mark.parametrize('name', sorted(path.stem for path in FILES if room(path) == 'commands' and path.stem != '__init__'))
def test_every_command_is_called_by_a_test(name: str) -> None:
    """Through its command line, beside the tests of what it does."""
    assert [path for path in TESTS if re.search(rf"\b(call_tool|tool)\(\s*'{name}'", path.read_text())]


@pytest.mark.parametrize('path', TESTS, ids=lambda p: p.stem)
def test_a_test_file_is_of_a_file_and_short(path: Path) -> None:
    """test_FILE.py, or test_FILE_TOPIC.py beside it where there are many."""
    name = path.stem.removeprefix('test_')
    assert name in NAMES or name in OTHERS or any(name.startswith(f'{one}_') for one in NAMES)
    assert len(path.read_text().splitlines()) < 400
