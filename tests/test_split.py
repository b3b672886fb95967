"""Splits: the folder's own, or by a hash of the names, stable and with groups kept together."""

from pathlib import Path

import pytest

from convnext_dense.data.layouts.found import Found, Picture
from convnext_dense.data.layouts.split import split
from convnext_dense.errors import InputError


def found(*names: str, splits: dict[str, str] | None = None) -> Found:
    pictures = [Picture(Path(name), name, (8, 8), split=(splits or {}).get(name, '')) for name in names]
    return Found('toy', 'toy', Path('.'), ('a',), pictures)


def names(parts, part: str) -> set[str]:
    return {picture.name for picture in parts[part]}


NAMES = [f'scene/{number:03d}.jpg' for number in range(400)]


def test_a_share_validates(tmp_path: Path) -> None:
    parts, how = split(found(*NAMES), 0.2)
    assert 50 < len(parts['val']) < 110 and len(parts['train']) + len(parts['val']) == 400 and '20% of the names' in how
    assert not names(parts, 'train') & names(parts, 'val')


def test_a_picture_stays_on_its_side() -> None:
    few, _ = split(found(*NAMES[:200]))
    many, _ = split(found(*reversed(NAMES)))
    assert names(few, 'val') <= names(many, 'val') and names(few, 'train') <= names(many, 'train')
    moved, _ = split(found(*(name.replace('scene/', 'elsewhere/').replace('.jpg', '.png') for name in NAMES[:200])))
    assert {Path(name).stem for name in names(moved, 'val')} == {Path(name).stem for name in names(few, 'val')}


@pytest.mark.parametrize(('group_by', 'key'), [('video', lambda n: n.split('_')[0]), (r'^(\w)', lambda n: n[0])])
def test_groups_stay_together(group_by: str, key) -> None:
    given = [f'{clip}{number % 7}_{number:05d}.jpg' for clip in 'abcdef' for number in range(20)]
    parts, how = split(found(*given), 0.3, group_by)
    assert parts['train'] and parts['val'] and repr(group_by) in how
    assert not {key(name) for name in names(parts, 'train')} & {key(name) for name in names(parts, 'val')}


def test_both_sides_have_one() -> None:
    for share in (0.01, 0.99):
        parts, _ = split(found('a.jpg', 'b.jpg'), share)
        assert len(parts['train']) == len(parts['val']) == 1


def test_the_folders_own() -> None:
    parts, how = split(found('a', 'b', 'c', 'd', splits=dict(a='train', b='val', c='test')))
    assert [names(parts, part) for part in ('train', 'val', 'test')] == [{'a'}, {'b'}, {'c'}]
    assert how == 'splits as in the folder, 1 pictures in none of them are left out'


def test_train_and_test_alone() -> None:
    parts, how = split(found('a', 'b', 'c', splits=dict(a='train', b='train', c='test')))
    assert len(parts['train']) == len(parts['val']) == 1 and names(parts, 'test') == {'c'} and 'no validation split' in how


@pytest.mark.parametrize(
    ('given', 'options', 'words'),
    [
        (found('a', 'b'), dict(share=0.0), '--val-share: expected a number between 0 and 1, got 0'),
        (found('a', 'b'), dict(share=1.0), '--val-share'),
        (found('a', 'b'), dict(group_by='('), '--group-by: expected'),
        (found('a_1', 'a_2'), dict(group_by='video'), '--group-by video puts all 2 pictures on one side'),
        (found('a'), {}, 'expected two pictures or more, one to validate on; got 1'),
        (found('a', 'b', splits=dict(a='val', b='test')), {}, 'expected pictures to train on .* got them for val and test'),
    ],
)
def test_what_cannot_be(given: Found, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        split(given, **options)


def test_a_test_split_alone() -> None:
    given = found('a', 'b', splits=dict(a='test', b='test'))
    parts, how = split(given, training=False)
    assert names(parts, 'test') == {'a', 'b'} and how == 'splits as in the folder'
    with pytest.raises(InputError, match='expected pictures to train on'):
        split(given)


def test_names_that_repeat_in_folders_and_roboflows() -> None:
    parts, _ = split(found(*(f'scene{n}/0001.jpg' for n in range(20))))
    assert parts['train'] and parts['val']
    given = [f'vid{clip}_{n:04d}_jpg.rf.{clip}a{n}f.jpg' for clip in range(6) for n in range(9)]
    parts, how = split(found(*given), 0.3, 'video')
    assert '6 groups of names' in how
    assert not {name[:4] for name in names(parts, 'train')} & {name[:4] for name in names(parts, 'val')}
