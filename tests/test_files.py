"""What a run will write is known to be writable before it starts, and never left half written."""

import os
from pathlib import Path

import pytest

from convnext_dense import InputError
from convnext_dense.files import check_file, check_folder, partial_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def places(tmp_path) -> Path:
    (tmp_path / 'file.json').write_text('{}')
    (tmp_path / 'weights.pth').write_text('')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'circle').symlink_to(tmp_path / 'circle')
    (tmp_path / 'broken').symlink_to(tmp_path / 'nowhere')
    return tmp_path


@pytest.mark.parametrize('name', ['folder', 'new', 'new/deeper/still', '.'])
def test_folders_that_can_be_written(places, name: str) -> None:
    before = names(places)
    check_folder('--work-dir', str(places / name))
    assert names(places) == before and names(places / 'folder') == []


@pytest.mark.parametrize(
    'name, message',
    [
        ('file.json', 'where .*file.json is a file; name another'),
        ('file.json/run', 'where .*file.json is a file; name another'),
        ('circle', 'circle is a broken link'),
        ('broken/run', 'broken is a broken link'),
        ('x' * 300, r'File name too long'),
        ('new/' + 'x' * 300, r'File name too long'),
        ('a\0b', 'null'),
    ],
)
def test_folders_that_cannot(places, name: str, message: str) -> None:
    before = names(places)
    with pytest.raises(InputError, match=f'^--work-dir: expected a folder.*{message}'):
        check_folder('--work-dir', f'{places}/{name}')
    assert names(places) == before


@pytest.mark.parametrize('name', ['new.json', 'file.json', 'new'])
def test_files_that_can_be_written(places, name: str) -> None:
    before = names(places)
    check_file('--out', str(places / name), '.json')
    assert names(places) == before and (places / 'file.json').read_text() == '{}'


@pytest.mark.parametrize(
    'name, message',
    [
        ('no/file.json', 'expected a file in an existing folder'),
        ('file.json/x', 'expected a file in a folder, got .*file.json/x, where .*file.json is a file'),
        ('file.json/deeper/x', 'where .*file.json is a file'),
        ('folder', 'is a folder'),
        ('circle', 'is a broken link'),
        ('weights.pth', 'one ending in .json, got .*weights.pth which is there'),
        ('x' * 300, 'File name too long'),
        ('a\0b', 'null'),
    ],
)
def test_files_that_cannot(places, name: str, message: str) -> None:
    before = names(places)
    with pytest.raises(InputError, match=f'^--out: .*{message}'):
        check_file('--out', f'{places}/{name}', '.json')
    assert names(places) == before


def test_a_read_only_place(places, monkeypatch) -> None:
    def refused(*args, **options) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr('tempfile.mkdtemp', refused)
    monkeypatch.setattr(Path, 'touch', refused)
    for check in (lambda: check_folder('--out', str(places)), lambda: check_file('--out', str(places / 'a.json'), '.json')):
        with pytest.raises(InputError, match='Read-only file system'):
            check()


def test_a_file_is_whole_or_not_there(tmp_path) -> None:
    path = tmp_path / 'a.json'
    with pytest.raises(RuntimeError), partial_file(path) as partial:
        partial.write_text('half')
        raise RuntimeError
    assert names(tmp_path) == []
    for text in ('one', 'two'):
        with partial_file(path) as partial:
            partial.write_text(text)
            assert not path.exists() or path.read_text() == 'one'
        assert path.read_text() == text and names(tmp_path) == ['a.json']


def test_a_strangers_partial_file_stays(tmp_path) -> None:
    (tmp_path / 'a.json.partial').write_text('mine')
    (tmp_path / 'plain').write_text('')
    with pytest.raises(RuntimeError), partial_file(tmp_path / 'a.json') as partial:
        raise RuntimeError
    with partial_file(tmp_path / 'a.json') as partial:
        partial.write_text('new')
    assert names(tmp_path) == ['a.json', 'a.json.partial', 'plain']
    assert (tmp_path / 'a.json.partial').read_text() == 'mine'
    assert (tmp_path / 'a.json').stat().st_mode == (tmp_path / 'plain').stat().st_mode
