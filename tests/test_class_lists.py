"""Lists of classes as the tools write them."""

from pathlib import Path

import pytest

from convnext_dense.data.layouts.class_lists import parse, read_class_list
from convnext_dense.errors import InputError

RED, GREEN = 250 << 16, 128 << 8


@pytest.mark.parametrize(
    ('name', 'text', 'numbers', 'colours'),
    [
        ('classes.txt', 'cat\nbig dog\n', None, None),
        ('classes.txt', '\ufeffcat\r\nbig dog\r\n', None, None),
        ('classes.txt', '0: cat\n1: big dog\n', (0, 1), None),
        ('classes.txt', 'cat: 250, 0, 0\nbig dog: 0, 128, 0\n', None, (RED, GREEN)),
        ('classes.txt', 'cat 250 0 0\nbig dog 0 128 0\n', None, (RED, GREEN)),
        ('label_colors.txt', '250 0 0\tcat\n0 128 0\tbig dog\n', None, (RED, GREEN)),
        ('labelmap.txt', '# label:color_rgb:parts:actions\ncat:250,0,0::\nbig dog:0,128,0::\n', None, (RED, GREEN)),
        ('class_dict.csv', 'name,r,g,b\ncat,250,0,0\nbig dog,0,128,0\n', None, (RED, GREEN)),
        ('_classes.csv', 'Pixel Value, Class\n3, cat\n5, big dog\n', (3, 5), None),
        ('classes.json', '["cat", "big dog"]', None, None),
        ('classes.json', '{"classes": ["cat", "big dog"], "palette": [[1, 2, 3], [4, 5, 6]]}', None, None),
        ('classes.json', '{"7": "big dog", "2": "cat"}', (2, 7), None),
        ('classes.json', '{"cat": [250, 0, 0], "big dog": [0, 128, 0]}', None, (RED, GREEN)),
        ('classes.json', '{"cat": "#fa0000", "big dog": "#008000"}', None, (RED, GREEN)),
        (
            'classes.json',
            '[{"name": "cat", "color": "#fa0000"}, {"name": "big dog", "color": [0, 128, 0]}]',
            None,
            (RED, GREEN),
        ),
        ('classes.json', '{"cat": 1, "big dog": 4}', (1, 4), None),
    ],
)
def test_a_list(tmp_path: Path, name: str, text: str, numbers, colours) -> None:
    (tmp_path / name).write_text(text)
    found = read_class_list(tmp_path)
    assert found is not None and found.names == ('cat', 'big dog')
    assert found.numbers == numbers and found.colours == colours
    assert found.values(packed_colours=False) == dict(zip(numbers or (0, 1), found.names))
    assert found.values(packed_colours=True) == (dict(zip(colours, found.names)) if colours else {})


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('classes.json', '{', 'what cannot be read'),
        ('classes.json', '[{"colour": 1}]', 'what cannot be read'),
        ('classes.txt', 'cat\ncat\n', 'different names, got cat'),
        ('classes.txt', '\n', 'different names, got none'),
    ],
)
def test_what_is_none(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        parse(tmp_path / name)


def test_where_it_lies(tmp_path: Path) -> None:
    assert read_class_list(tmp_path) is None
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train/_classes.csv').write_text('0, cat\n')
    assert read_class_list(tmp_path).source == tmp_path / 'train/_classes.csv'
    (tmp_path / 'classes.txt').write_text('cat\n')
    assert read_class_list(tmp_path).source == tmp_path / 'classes.txt'
