"""What is installed: a wheel, built from a source distribution, has the command and the recipes."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from convnext_dense.recipes import recipes


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built without a network, by what builds it."""
    for name in ('hatchling', 'hatch_requirements_txt'):
        pytest.importorskip(name, reason=f'{name} is not installed: pip install -r requirements-test.txt')
    folder = tmp_path_factory.mktemp('wheel')

    def build(kind: str, source: Path) -> Path:
        command = [sys.executable, '-m', 'hatchling', 'build', '-t', kind, '-d', str(folder)]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        (made,) = folder.glob('*.tar.gz' if kind == 'sdist' else '*.whl')
        return made

    with tarfile.open(build('sdist', ROOT)) as archive:
        archive.extractall(folder / 'source', filter='data')
    (source,) = (folder / 'source').iterdir()
    return zipfile.ZipFile(build('wheel', source))


@pytest.mark.slow
def test_the_recipes_and_the_command_are_in_it(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    names = wheel.namelist()
    within = {str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('*.py')}
    assert {name.removeprefix('convnext_dense/') for name in names if name.startswith('convnext_dense/configs/')} == within
    assert {name.partition('/')[0] for name in names if '.dist-info' not in name} == {
        'convnext_dense',
        'convnext_dense_cli.py',
        'convnext_dense_autoload.pth',
    }
    (points,) = [name for name in names if name.endswith('entry_points.txt')]
    assert wheel.read(points).decode().split() == ['[console_scripts]', 'convnext-dense', '=', 'convnext_dense_cli:main']
    wheel.extractall(tmp_path / 'site')
    done = subprocess.run(
        [sys.executable, '-m', 'convnext_dense_cli', 'configs'],
        cwd=tmp_path,
        env={'PYTHONPATH': str(tmp_path / 'site')},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert [name for name in recipes() if f'| {name} ' not in done.stdout] == []
