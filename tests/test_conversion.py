"""A folder written anew in another layout reads back the same."""

from pathlib import Path

import numpy as np
import pytest
from conftest import call_tool, one_line
from layout_sets import OBJECTS, painted, toy, write_coco, write_indices, write_roboflow_masks
from PIL import Image

from convnext_dense.data.layouts.conversion import KINDS, _row, convert, joined
from convnext_dense.data.layouts.found import Found, Object, Picture
from convnext_dense.data.layouts.index import as_runs, drawn
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError

TREES = ('building', 'sky', 'tree')


@pytest.mark.parametrize('name', ['labelme', 'voc', 'cvat'])
@pytest.mark.parametrize('kind', ['coco', 'yolo'])
def test_objects_and_back(name: str, kind: str, tmp_path: Path) -> None:
    source, out = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    OBJECTS[name](source, toy(tmp_path / 'toy'))
    before = {path: path.read_bytes() for path in source.rglob('*') if path.is_file()}
    done = call_tool('convert_data', str(source), str(out), '--to', kind)
    assert done.returncode == 0 and '6 pictures written' in done.stdout, done.stderr
    assert before == {path: path.read_bytes() for path in source.rglob('*') if path.is_file()}
    one, other = read_folder(str(source)), read_folder(str(out))
    assert one.classes == other.classes and [p.split for p in other.pictures] == ['train'] * 4 + ['val'] * 2
    for mine, theirs in zip(sorted(one.pictures, key=lambda p: p.path.name), other.pictures):
        assert mine.path.read_bytes() == theirs.path.read_bytes() and len(mine.objects) == len(theirs.objects) == 3
        for a, b in zip(mine.objects, theirs.objects):
            assert a.label == b.label and np.array_equal(drawn(a.outline, mine.size), drawn(b.outline, mine.size))
            if name != 'voc':  # whose boxes lie between pixels
                assert a.box == pytest.approx(b.box, abs=1e-3)


@pytest.mark.parametrize('write', [write_indices, write_roboflow_masks])
def test_masks_and_back(write, tmp_path: Path) -> None:
    scenes = painted(toy(tmp_path / 'toy'))
    write(tmp_path / 'in', scenes, TREES)
    ignored = ['--ignore', 'unlabelled'] if write is write_roboflow_masks else []
    done = call_tool('convert_data', str(tmp_path / 'in'), str(tmp_path / 'out'), '--to', 'masks', *ignored)
    assert done.returncode == 0, done.stderr
    found = read_folder(str(tmp_path / 'out'))
    assert found.classes == TREES
    for picture, one in zip(found.pictures, [*scenes['train'], *scenes['val']]):
        mask = np.asarray(Image.open(picture.mask)).astype(int)
        assert np.array_equal(np.where(mask == 255, 0, mask + 1), one.mask)


def test_polygons_as_one() -> None:
    squares = [[1, 1, 5, 1, 5, 5, 1, 5], [10, 2, 14, 2, 14, 6, 10, 6]]
    assert np.array_equal(drawn([list(map(float, joined(squares)))], (20, 10)), drawn(squares, (20, 10)))
    assert joined(squares[:1]) == squares[0]


def test_a_mask_with_a_hole_and_a_part_by_its_corner() -> None:
    mask = np.zeros((9, 12), bool)
    mask[1:8, 1:8], mask[3:5, 3:6], mask[8, 8] = True, False, True
    row = _row(
        Object(0, (0, 0, 1, 1), as_runs(dict(size=[9, 12], counts=_counts(mask)), (12, 9))), Picture(Path(), '', (12, 9))
    )
    points = [float(v) * (12, 9)[i % 2] for i, v in enumerate(row.split()[1:])]
    assert np.array_equal(drawn([points], (12, 9)), mask)


def _counts(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel()
    ends = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    return [*([0] if flat[0] else []), *np.diff(ends).tolist()]


def test_several_parts_and_crowds_in_yolo(tmp_path: Path) -> None:
    Image.new('RGB', (20, 10)).save(tmp_path / 'a.png')
    parts = [[1.0, 1, 5, 1, 5, 5, 1, 5], [10.0, 2, 14, 2, 14, 6, 10, 6]]
    objects = [Object(0, (1, 1, 14, 6), parts), Object(0, (0, 0, 5, 5), None, crowd=True), Object(0, (2, 3, 4, 5))]
    found = Found('toy', 'toy', tmp_path, ('cat',), [Picture(tmp_path / 'a.png', 'a.png', (20, 10), objects)])
    notes = convert(found, dict(train=found.pictures), tmp_path / 'out', 'yolo')
    assert notes == ['1 crowds, which YOLO does not know, are left out']
    first, second = read_folder(str(tmp_path / 'out')).pictures[0].objects
    assert np.array_equal(drawn(first.outline, (20, 10)), drawn(parts, (20, 10))) and second.box == (2, 3, 4, 5)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    source, out = tmp_path / 'in', tmp_path / 'out'
    write_coco(source, toy(tmp_path / 'toy'))
    write_indices(tmp_path / 'masks', painted(toy(tmp_path / 'toy')), TREES)
    for args, words in (
        ((source, source / 'out', '--to', 'yolo'), 'OUT: expected a folder outside of'),
        ((source, tmp_path, '--to', 'yolo'), 'OUT: expected a new or empty folder'),
        ((tmp_path / 'masks', out, '--to', 'coco'), 'expected objects, got masks of classes'),
        ((tmp_path / 'nothing', out, '--to', 'coco'), 'not there'),
        ((source, out, '--to', 'coco', '--classes', 'plum'), '--classes: expected some of date'),
    ):
        done = call_tool('convert_data', *map(str, args))
        one_line(done.returncode, done.stderr, words)
        assert not out.exists()


def test_boxes_alone_make_no_masks(tmp_path: Path) -> None:
    found = Found('toy', 'toy', tmp_path, ('cat',), [Picture(tmp_path / 'a.png', 'a.png', (8, 8), [Object(0, (0, 0, 4, 4))])])
    with pytest.raises(InputError, match='--to masks: expected outlines or masks, got boxes'):
        convert(found, dict(train=found.pictures), tmp_path / 'out', KINDS[2])


def test_names_stay_below_the_folder_that_is_written(tmp_path: Path) -> None:
    """Pictures elsewhere, and two that differ in their suffix alone."""
    for name in ('a.jpg', 'a.png', 'b.png'):
        Image.new('RGB', (8, 8)).save(tmp_path / name)
    pictures = [
        Picture(tmp_path / name, str(tmp_path / name), (8, 8), [Object(0, (0, 0, 4, 4))]) for name in ('a.jpg', 'b.png')
    ]
    found = Found('toy', 'toy', tmp_path / 'elsewhere', ('cat',), pictures)
    before = sorted(tmp_path.rglob('*'))
    convert(found, dict(train=pictures), tmp_path / 'out', 'yolo')
    assert sorted(path for path in tmp_path.rglob('*') if tmp_path / 'out' not in (path, *path.parents)) == before
    assert len(list((tmp_path / 'out/images').rglob('*.*'))) == 2
    other = Picture(tmp_path / 'a.png', str(tmp_path / 'a.png'), (8, 8), [])
    with pytest.raises(InputError, match='expected one picture of each name, got'):
        convert(found, dict(train=[*pictures, other]), tmp_path / 'other', 'yolo')


def test_one_class_survives_the_way_there_and_back(tmp_path: Path) -> None:
    write_coco(tmp_path / 'in', toy(tmp_path / 'toy'))
    options = ['--to', 'masks', '--ignore', 'background', '--classes', 'fig']
    done = call_tool('convert_data', str(tmp_path / 'in'), str(tmp_path / 'out'), *options)
    assert done.returncode == 0, done.stderr
    found = read_folder(str(tmp_path / 'out'))
    assert found.classes == ('fig',) and found.values.classes == {0: 0, 255: 255}
