"""Where onnxruntime-web comes from, with an npm that is a script."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import call_tool

from convnext_dense import InputError
from convnext_dense.export.web import META, MODEL, is_site
from convnext_dense.export.web_runtime import FILES, PACKAGE, VERSION, cache_folder, find_runtime, runtime_at_hand
from convnext_dense.predict.exported_session import open_session


def package(folder: Path, version: str = VERSION) -> Path:
    (folder / 'dist').mkdir(parents=True)
    (folder / 'package.json').write_text(json.dumps(dict(name=PACKAGE, version=version)))
    for name in (*FILES, 'ort.js'):
        (folder / 'dist' / name).write_text(name)
    return folder


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch) -> Path:
    """A user without a cache, in an empty folder, without npm."""
    for name in ('work', 'bin'):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    return tmp_path


def npm(folder: Path, script: str) -> None:
    (folder / 'bin/npm').write_text(f'#!/bin/sh\nPATH={os.defpath}\n{script}\n')
    (folder / 'bin/npm').chmod(0o755)


def test_a_folder_that_is_named(alone: Path) -> None:
    given = package(alone / 'given')
    assert find_runtime(str(given)) == given / 'dist'
    inner = package(alone / 'unpacked/package')
    assert find_runtime(str(inner.parent)) == inner / 'dist'  # as `tar xf` leaves it
    with pytest.raises(InputError, match=f'expected the package {PACKAGE} {VERSION}, unpacked, got .*: 1.2.3; unpack'):
        find_runtime(str(package(alone / 'old', '1.2.3')))
    (given / 'dist' / FILES[-1]).unlink()
    for folder in (given, alone / 'no', alone):
        with pytest.raises(InputError, match='--onnxruntime-web: expected the package'):
            find_runtime(str(folder))


def test_node_modules_then_the_cache(alone: Path) -> None:
    assert runtime_at_hand() is None
    kept = package(cache_folder())
    assert kept.is_relative_to(alone / 'cache') and find_runtime(None) == kept / 'dist'
    nearer = package(Path('node_modules', PACKAGE), '1.2.3')
    assert find_runtime(None) == kept / 'dist'  # of another version
    (nearer / 'package.json').write_text((kept / 'package.json').read_text())
    assert find_runtime(None) == nearer / 'dist'


def test_by_npm_once(alone: Path) -> None:
    with tarfile.open(alone / 'package.tgz', 'w:gz') as tar:
        tar.add(package(alone / 'made'), 'package')
    npm(alone, f'echo "$@" >> {alone}/calls; cp {alone}/package.tgz "$4/onnxruntime-web.tgz"')
    assert find_runtime(None) == find_runtime(None) == cache_folder() / 'dist'
    assert {path.name for path in (cache_folder() / 'dist').iterdir()} == set(FILES)
    assert [path.name for path in cache_folder().parent.iterdir()] == [cache_folder().name]
    (call,) = (alone / 'calls').read_text().splitlines()
    assert call.startswith(f'pack {PACKAGE}@{VERSION} --pack-destination ')


def test_without_npm_or_network(alone: Path) -> None:
    with pytest.raises(InputError, match=r'expected npm, .*, found none; install Node.js, or unpack .* name its folder with'):
        find_runtime(None)
    npm(alone, 'echo "npm error code ENOTFOUND" >&2; echo more >&2; exit 1')
    with pytest.raises(InputError, match=rf'npm could not bring {PACKAGE} {VERSION} \(npm error code ENOTFOUND\); unpack'):
        find_runtime(None)
    npm(alone, 'true')
    with pytest.raises(InputError, match=r'\(status 0\)'):
        find_runtime(None)
    assert not list(cache_folder().parent.iterdir())


@pytest.mark.slow
def test_a_site_by_the_command(segmentor_file: str, alone: Path) -> None:
    """In the folder that it has by default; its model and what is known of it, with the runtime of --onnxruntime-web."""
    given = '--to', 'web', '--size', '64x96', '--onnxruntime-web', str(package(alone / 'given'))
    done = call_tool('export', segmentor_file, *given)
    assert done.returncode == 0, done.stderr
    site = alone / 'work/site'
    about = json.loads((site / META).read_text())
    assert is_site(site) and about['task'] == 'segmentation' and about['bytes'] == (site / MODEL).stat().st_size
    assert open_session(site / MODEL).run(np.zeros((1, 64, 96, 3), np.uint8))['classes'].shape == (1, 64, 96)
    assert 'see it with --serve site' in done.stdout
