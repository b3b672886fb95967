"""`convnext-dense`: which command is meant, and what is none, without the libraries that commands need."""

import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, call_tool, one_line
from parsers import COMMANDS, TOOLS, module_of

import convnext_dense_cli
from convnext_dense.version import __version__


def answer(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, 'argv', ['/somewhere/bin/convnext-dense', *arguments])
    try:
        convnext_dense_cli.main()
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    return status, *capsys.readouterr()


@pytest.mark.parametrize('arguments, expected', [(['--help'], 0), (['-h'], 0), ([], 2)])
def test_help_has_each_command_with_what_it_does(monkeypatch, capsys, arguments: list[str], expected: int) -> None:
    status, out, err = answer(monkeypatch, capsys, *arguments)
    assert (status, err) == (expected, '') and out.startswith('usage: convnext-dense COMMAND')
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith('    ')]
    assert lines == [[name, inspect.getdoc(module_of(name)).splitlines()[0]] for name in sorted(COMMANDS)]
    assert len(lines) == 14 and max(map(len, out.splitlines())) <= 128


def test_the_version(monkeypatch, capsys) -> None:
    assert answer(monkeypatch, capsys, '--version') == (0, f'convnext-dense {__version__}\n', '')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['trian', 'my.py'], "expected a command, got 'trian'; did you mean 'train'?"),
        (['check_data'], "got 'check_data'; did you mean 'check'?"),
        (['nonsense'], "got 'nonsense'; expected one of: benchmark, check, .*, train"),
        (['--vesion'], "got '--vesion'; expected one of"),
        (['--version', 'more'], "got '--version more'"),
        (['--help', 'train'], "got '--help train'"),
        (['-x', '--help'], "got '-x --help'"),
    ],
)
def test_what_is_no_command(monkeypatch, capsys, arguments: list[str], message: str) -> None:
    status, out, err = answer(monkeypatch, capsys, *arguments)
    assert out == ''
    one_line(status, err, message)


def test_a_command_gets_the_arguments_after_its_name(monkeypatch, capsys) -> None:
    ran = []
    monkeypatch.setattr(convnext_dense_cli, 'run', lambda name: ran.append((name, sys.argv)))
    assert answer(monkeypatch, capsys, 'test', 'a', '--help') == (0, '', '')
    assert ran == [('test', ['convnext-dense test', 'a', '--help'])]


@pytest.mark.parametrize('tool', TOOLS)
def test_a_tool_runs_its_command_from_its_own_clone(monkeypatch, tool: str) -> None:
    ran = []
    monkeypatch.setattr(convnext_dense_cli, 'run', ran.append)
    monkeypatch.setattr(sys, 'path', sys.path[:])
    path = ROOT / 'tools' / f'{tool}.py'
    runpy.run_path(str(path), run_name='__mp_main__')  # as a loading process does that is spawned
    assert ran == []
    runpy.run_path(str(path), run_name='__main__')
    assert ran == [TOOLS[tool]] and sys.path[0] == str(ROOT)
    assert f'convnext_dense/commands/{TOOLS[tool].replace("-", "_")}.py' in path.read_text()


def test_every_command_but_those_of_recipes_has_a_tool() -> None:
    assert sorted([*TOOLS.values(), 'config', 'configs']) == sorted(COMMANDS)


WITHOUT = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, 'mmengine' in sys.modules))"


@pytest.mark.parametrize(
    'arguments, status', [('--help', 0), ('--version', 0), ('nonsense', 2), ('configs', 0), ('configs x', 2)]
)
def test_no_library_is_imported_for_an_answer(tmp_path: Path, arguments: str, status: int) -> None:
    code = f'{WITHOUT}; sys.argv[1:] = {arguments.split()}; import convnext_dense_cli; convnext_dense_cli.main()'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, env={'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status and done.stdout.splitlines()[-1] == 'False False', done
    assert len(done.stderr.splitlines()) == (status != 0)


def test_the_toy_set_is_drawn(tmp_path: Path) -> None:
    done = call_tool('shapes', str(tmp_path / 'shapes'), '--train', '2', '--val', '1')
    assert (done.returncode, done.stdout) == (0, f'2 training and 1 validation pictures in {tmp_path / "shapes"}\n')
    assert len(list((tmp_path / 'shapes').rglob('*.jpg'))) == 3
    again = call_tool('shapes', str(tmp_path / 'shapes'))
    one_line(again.returncode, again.stderr, 'shapes')
