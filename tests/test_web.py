"""The folder of a site: whole or as it was, and nobody else's files."""

import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import one_line
from web_sites import fake_runtime, meta

from convnext_dense import InputError
from convnext_dense.export.web import META, MODEL, PAGE, check_site_folder, is_site, write_site
from convnext_dense.export.web_runtime import FILES


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    return fake_runtime(tmp_path / 'runtime')


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / 'any.onnx').write_bytes(b'model' * 1000)
    return tmp_path / 'any.onnx'


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing beyond that fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_site(tmp_path: Path, model: Path, runtime: Path) -> None:
    site = tmp_path / 'new/site'
    size = write_site(site, model, meta(), runtime)
    found = files(site)
    assert is_site(site) and size == sum(map(len, found.values()))
    assert found[MODEL] == model.read_bytes()
    assert {name.removeprefix('onnxruntime/') for name in found if name.startswith('onnxruntime/')} == {*FILES, 'LICENSE'}
    about = json.loads(found[META])
    assert about['bytes'] == 5000 and about['file'] == MODEL and about['classes'] == meta()['classes']
    assert set(about['site']) == set(found)


def test_again_and_another_model(tmp_path: Path, model: Path, runtime: Path) -> None:
    site = tmp_path / 'site'
    site.mkdir()  # empty
    write_site(site, model, meta(), runtime)
    (site / 'of_an_earlier_version.js').write_text('')
    before = json.loads((site / META).read_text())
    (site / META).write_text(json.dumps(before | dict(site=[*before['site'], 'of_an_earlier_version.js'])))
    (site / '.partial_abc').mkdir()  # of a run that was killed
    model.write_bytes(b'other')
    write_site(site, model, meta(), runtime)
    after = json.loads((site / META).read_text())
    assert after['version'] != before['version'] and 'of_an_earlier_version.js' not in files(site)
    assert set(files(site)) == set(after['site']) == set(before['site'])


def test_folders_of_others(tmp_path: Path, model: Path, runtime: Path) -> None:
    other = tmp_path / 'photos'
    other.mkdir()
    (other / 'index.html').write_text('mine')
    with pytest.raises(InputError, match=r'new or empty folder, or an earlier site, got .*photos, which holds index'):
        write_site(other, model, meta(), runtime)
    (other / META).write_text('{"site": 5}')
    with pytest.raises(InputError, match='which holds'):
        check_site_folder('--out', other)
    assert set(files(other)) == {'index.html', META}
    site = tmp_path / 'site'
    write_site(site, model, meta(), runtime)
    (site / 'notes.txt').write_text('')
    with pytest.raises(InputError, match=r'which holds notes\.txt; name another'):
        write_site(site, model, meta(), runtime)
    for path in (model, model / 'below'):
        with pytest.raises(InputError, match='--out: expected a folder'):
            check_site_folder('--out', path)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, model: Path, runtime: Path) -> None:
    with largest_file(4000), pytest.raises(OSError, match='File too large') as error:
        write_site(tmp_path / 'site', model, meta(), runtime)
    assert 'site' in error.value.filename and not (tmp_path / 'site').exists()
    write_site(tmp_path / 'site', model, meta(), runtime)
    before = files(tmp_path / 'site')
    model.write_bytes(b'other' * 10_000)
    with largest_file(20_000), pytest.raises(OSError, match='File too large'):
        write_site(tmp_path / 'site', model, meta(), runtime)
    assert files(tmp_path / 'site') == before


def test_models_that_the_page_cannot_give_pictures(tmp_path: Path, model: Path, runtime: Path) -> None:
    with pytest.raises(InputError, match='leave --raw out'):
        write_site(tmp_path / 'site', model, meta(raw=True), runtime)
    with pytest.raises(InputError, match='without classes, palette'):
        write_site(tmp_path / 'site', model, meta(classes=0), runtime)
    with pytest.raises(FileNotFoundError):
        write_site(tmp_path / 'site', tmp_path / 'no.onnx', meta(), runtime)
    assert not (tmp_path / 'site').exists()


@pytest.mark.parametrize('file', sorted(PAGE.glob('*.*')), ids=lambda file: file.name)
def test_the_page_needs_its_own_files_alone(file: Path) -> None:
    text = file.read_text()
    named = re.findall(r"""(?:from |import\(|new URL\()'\./([\w./-]+?)/?'""", text)
    named += re.findall(r"""(?:href|src)="([\w./-]+)""", text)
    given = {'model.json', *(f'onnxruntime/{name}' for name in FILES)}
    assert [name for name in named if name not in given and not (PAGE / name).exists()] == []
    assert not [url for url in re.findall(r'https?://[^"\'\s]+', text) if url != 'http://www.w3.org/2000/svg']
    assert len(text.splitlines()) < 250 and max(map(len, text.splitlines())) <= 140


def test_the_command(segmentor_file: str, tmp_path: Path, runtime: Path, tool) -> None:
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/mine').write_text('')
    for more, words in (
        (('--to', 'web', 'onnx', '--out', str(tmp_path / 'site')), 'expected web alone'),
        (('--to', 'web', '--out', str(tmp_path / 'full')), 'which holds mine'),
        (('--to', 'web', '--out', str(tmp_path / 'a'), '--onnxruntime-web', str(runtime)), 'no such package'),
        (('--out', str(tmp_path / 'site')), 'expected a model and --to; or --serve'),
    ):
        one_line(*tool('export', segmentor_file, *more), words)
    one_line(*tool('export', segmentor_file, '--serve', str(tmp_path)), 'expected no model')
    assert not (tmp_path / 'site').exists()
