"""What is kept is read back as it was; what is broken, or of another version, is not taken."""

import json
from pathlib import Path

import numpy as np
import pytest

from convnext_dense.errors import InputError
from convnext_dense.report.evaluated import (
    ABOUT,
    FOLDER,
    About,
    changed,
    read_about,
    read_maps,
    stamp_of,
    stamps_of,
    write_about,
    write_maps,
)


def about() -> About:
    return About(
        'segmentation', 'iter_1.pth', [3, 4], 1, '{}', dict(mIoU=1.0), ['a'], [[1, 2, 3]], ['x.png'], None, [[1.0, 1.0, 0.5]]
    )


def test_round_trip(tmp_path: Path) -> None:
    assert read_about(tmp_path) is None
    (tmp_path / FOLDER).mkdir(parents=True)
    write_about(tmp_path, about())
    assert read_about(tmp_path) == about()


@pytest.mark.parametrize('text', ['', '[]', '{"version": 0}', json.dumps(dict(version=2, new=3)), '{"vers'])
def test_what_is_not_whole_is_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / ABOUT).write_text(text)
    assert read_about(tmp_path) is None


@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
def test_maps(tmp_path: Path, kind: type) -> None:
    one, other = (np.random.default_rng(seed).integers(0, np.iinfo(kind).max + 1, (7, 5)).astype(kind) for seed in (0, 1))
    write_maps(tmp_path, 3, one, other)
    truth, predicted = read_maps(tmp_path, 3)
    assert (truth == one).all() and (predicted == other).all()
    with pytest.raises(InputError, match='000004.png which cannot be read; --again'):
        read_maps(tmp_path, 4)


def test_pictures_annotations_and_folders_that_have_changed(tmp_path: Path) -> None:
    one, other = tmp_path / 'images' / 'a.png', tmp_path / 'masks' / 'a.png'
    for path in (one, other):
        path.parent.mkdir()
        path.write_text('x')
    found = about()
    found.files = stamps_of([str(one), str(other), str(tmp_path / 'gone' / 'b.png')])
    assert set(found.files) == {str(path) for path in (one, one.parent, other, other.parent)}
    assert changed(found) is None
    other.write_text('yy')
    assert changed(found) == str(other)
    other.write_text('x')
    found.files = stamps_of([str(one), str(other)])
    (one.parent / 'new.png').touch()
    assert changed(found) == str(one.parent)
    one.unlink()
    other.unlink()
    one.parent.rename(tmp_path / 'elsewhere')  # of another machine
    found.files.pop(str(other.parent))
    assert changed(found) is None


def test_a_file_is_known_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / 'a'
    path.write_text('x')
    before = stamp_of(str(path))
    path.write_text('xy')
    assert before[0] == 1 and stamp_of(str(path))[0] == 2
