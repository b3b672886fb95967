"""LabelMe's shapes: polygons, groups, rectangles, circles, masks, and those without an area."""

import base64
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from models import write_photograph
from PIL import Image

from convnext_dense.data.layouts.index import drawn
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]


def shape(points, kind: str = 'polygon', label: str = 'cat', **more) -> dict:
    return dict(label=label, points=points, group_id=None, shape_type=kind, flags={}) | more


def read(root: Path, *shapes: dict, picture: str = 'a.png'):
    write_photograph(root / 'a.png', 60, 80)
    content = dict(version='5', shapes=list(shapes), imagePath=picture, imageData=None, imageHeight=60, imageWidth=80)
    (root / 'a.json').write_text(json.dumps(content))
    return read_folder(str(root))


def test_shapes_with_an_area(tmp_path: Path) -> None:
    part = np.zeros((6, 8), bool)
    part[2:4, 3:5] = True
    png = io.BytesIO()
    Image.fromarray(part).save(png, 'PNG')
    mask = shape([[5, 7], [12, 12]], 'mask', mask=base64.b64encode(png.getvalue()).decode())
    circle = shape([[40, 30], [50, 30]], 'circle', 'dog')
    found = read(tmp_path, shape(SQUARE), shape([[1, 2], [5, 9]], 'rectangle'), circle, mask)
    polygon, rectangle, round_one, pixels = found.pictures[0].objects
    assert found.classes == ('cat', 'dog') and polygon.outline == [[10, 10, 30, 10, 30, 30, 10, 30]]
    assert rectangle.outline is None and rectangle.box == (1, 2, 5, 9)
    assert drawn(round_one.outline, (80, 60)).sum() == pytest.approx(math.pi * 100, rel=0.03)
    expected = np.zeros((60, 80), bool)
    expected[9:11, 8:10] = True
    assert np.array_equal(drawn(pixels.outline, (80, 60)), expected)


def test_a_group_is_one_object(tmp_path: Path) -> None:
    other = [[50, 40], [60, 40], [60, 50]]
    first, second = (
        read(tmp_path, shape(SQUARE, group_id=1), shape(other, group_id=1), shape(other, label='dog', group_id=1))
        .pictures[0]
        .objects
    )
    assert len(first.outline) == 2 and first.box == (10, 10, 60, 50) and len(second.outline) == 1


def test_shapes_without_an_area_are_counted(tmp_path: Path) -> None:
    none = shape([[1, 1]], 'point', 'tip'), shape([[1, 1], [2, 2]]), shape([[1, 1], [9, 9]], 'line')
    found = read(tmp_path, shape(SQUARE), *none)
    assert len(found.pictures[0].objects) == 1 and found.classes == ('cat',)
    assert found.notes == [
        '1 point shapes are left out',
        '1 polygons of less than three points are left out',
        '1 line shapes are left out',
    ]


def test_a_path_of_another_machine(tmp_path: Path) -> None:
    assert len(read(tmp_path, shape(SQUARE), picture='C:\\photos\\a.png').pictures) == 1


def test_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.json: expected shapes of polygon, .*got 'blob'"):
        read(tmp_path, shape(SQUARE, 'blob'))
    with pytest.raises(InputError, match='expected shapes with label and points'):
        read(tmp_path, dict(label='cat'))
    with pytest.raises(InputError, match='a mask shape cannot be read'):
        read(tmp_path, shape([[1, 1], [5, 5]], 'mask', mask='no png'))
    read(tmp_path, shape(SQUARE))
    (tmp_path / 'b.json').write_text((tmp_path / 'a.json').read_text().replace('a.png', 'b.png'))
    with pytest.raises(InputError, match='b.json is of the picture b.png, which is not in the folder'):
        read_folder(str(tmp_path))


def test_a_broken_file(tmp_path: Path) -> None:
    read(tmp_path, shape(SQUARE))
    (tmp_path / 'z.json').write_text('{"shapes": [')
    with pytest.raises(InputError, match='z.json is no JSON'):
        read_folder(str(tmp_path))


def test_a_picture_in_a_folder_beside(tmp_path: Path) -> None:
    """As LabelMe writes it where the JSON files have a folder of their own."""
    (tmp_path / 'json').mkdir()
    for number, given in enumerate(('../images/0.png', '..\\images\\1.png', '2.png')):
        write_photograph(tmp_path / f'images/{number}.png', 60, 80)
        content = dict(version='5', shapes=[shape(SQUARE)], imagePath=given, imageHeight=60, imageWidth=80)
        (tmp_path / f'json/{number}.json').write_text(json.dumps(content))
    found = read_folder(str(tmp_path))
    assert [(picture.name, len(picture.objects)) for picture in found.pictures] == [(f'images/{n}.png', 1) for n in range(3)]
    (tmp_path / 'json/3.json').write_text((tmp_path / 'json/0.json').read_text())
    with pytest.raises(InputError, match='3.json and another file are of the picture .*images/0.png'):
        read_folder(str(tmp_path))


def test_the_size_in_the_file(tmp_path: Path) -> None:
    """A picture of another size is told by the check, as of any layout."""
    read(tmp_path, shape(SQUARE))
    write_photograph(tmp_path / 'a.png', 120, 160)
    assert read_folder(str(tmp_path)).pictures[0].size == (80, 60)
