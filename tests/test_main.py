"""`python -m convnext_dense SCRIPT`: what is no script ends in one line; a script runs as its own program."""

import sys
from pathlib import Path

import pytest

from convnext_dense.__main__ import main


def started(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, 'argv', ['convnext_dense', *arguments])
    monkeypatch.setattr(sys, 'path', ['first', *sys.path[1:]])
    try:
        main()
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    return status, *capsys.readouterr()


@pytest.mark.parametrize('kind', ['missing', 'folder', 'loop', 'long', 'zero byte', 'broken', 'binary'])
def test_what_is_no_script(kind: str, tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / ('x' * 300 if kind == 'long' else 'a\0b' if kind == 'zero byte' else 'script.py')
    if kind == 'folder':
        path.mkdir()
    if kind == 'loop':
        path.symlink_to(path)
    if kind in ('broken', 'binary'):
        path.write_bytes(b'def (' if kind == 'broken' else b'\0\1\2\xff')
    status, out, err = started(monkeypatch, capsys, str(path))
    assert status == 2 and not out and len(err.splitlines()) == 1
    assert err.startswith('error: expected a Python script, got ') and 'usage: python -m convnext_dense SCRIPT' in err


def test_usage(monkeypatch, capsys) -> None:
    for arguments, expected in (([], 2), (['-h'], 0), (['--help'], 0)):
        status, out, err = started(monkeypatch, capsys, *arguments)
        assert (status, err) == (expected, '') and out.startswith('usage: ')


def test_a_script_gets_its_arguments_and_its_folder(tmp_path: Path, monkeypatch, capsys) -> None:
    script = tmp_path / 'script.py'
    script.write_text('import sys; print(__name__, sys.argv[1:], sys.path[0]); sys.exit(3)')
    status, out, _ = started(monkeypatch, capsys, str(script), 'a', '--b')
    assert (status, out.strip()) == (3, f"__main__ ['a', '--b'] {tmp_path.resolve()}")
