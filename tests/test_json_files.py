"""JSON files in a folder: of a folder of many the first few are looked at."""

from pathlib import Path

import pytest

from convnext_dense.data.layouts.json_files import LOOKED_AT, contents, read_json
from convnext_dense.errors import InputError


def test_two_levels_and_the_first_of_many(tmp_path: Path) -> None:
    (tmp_path / 'a/b/c').mkdir(parents=True)
    for name in ('z.json', 'a/b/y.json', 'a/b/c/x.json'):
        (tmp_path / name).write_text(f'"{name}"')
    for number in range(40):
        (tmp_path / f'a/{number:02d}.json').write_text(str(number))
    (tmp_path / 'a/20.json').write_text('[1, 2, 3]')
    found = [content for _, content in contents(tmp_path, sample=True)]
    assert found[:5] == ['z.json', *range(LOOKED_AT)] and [1, 2, 3] in found and found[-1] == 'a/b/y.json'
    assert len(found) == 2 + 2 * LOOKED_AT and len(list(contents(tmp_path))) == 42


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    path.write_text('[1]')
    assert read_json(path) == [1]
    path.write_text('[1, 2]')
    assert read_json(path) == [1, 2]
    path.write_bytes(b'\xff\xfe')
    with pytest.raises(InputError, match='a.json is no JSON'):
        read_json(path)
