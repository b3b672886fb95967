"""Label Studio's tasks: percent of the sides, turned rectangles, uploads' names, several annotations."""

import json
from pathlib import Path

import pytest
from models import write_photograph

from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError


def result(kind: str, **value) -> dict:
    return dict(type=kind, original_width=80, original_height=60, value=value | {kind: ['cat']})


BOX = result('rectanglelabels', x=10, y=20, width=50, height=50, rotation=0)


def read(root: Path, *annotations: dict, image: str = '/data/upload/1/ab12cd34-a.png'):
    write_photograph(root / 'a.png', 60, 80)
    (root / 'export.json').write_text(json.dumps([dict(id=1, data=dict(image=image), annotations=list(annotations))]))
    return read_folder(str(root))


def test_rectangles_and_polygons(tmp_path: Path) -> None:
    turned = result('rectanglelabels', x=50, y=50, width=25, height=10, rotation=90)
    triangle = result('polygonlabels', points=[[0, 0], [50, 0], [50, 50]])
    found = read(tmp_path, dict(result=[BOX, turned, triangle, result('brushlabels', rle=[1])]))
    box, round_one, polygon = found.pictures[0].objects
    assert box.box == (8, 12, 48, 42) and box.outline is None
    assert round_one.box == pytest.approx((34, 30, 40, 50))  # clockwise around its upper left corner
    assert polygon.outline == [[0, 0, 40, 0, 40, 30]] and found.classes == ('cat',)
    assert found.notes == ['1 brush strokes (export them as masks) are left out']


def test_the_first_annotation_that_was_not_cancelled(tmp_path: Path) -> None:
    found = read(tmp_path, dict(was_cancelled=True, result=[BOX, BOX]), dict(result=[BOX]), dict(result=[]))
    assert len(found.pictures[0].objects) == 1 and found.notes == ['1 further annotations of a picture are left out']


def test_a_picture_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'export.json names /data/upload/1/x-b.png, which is not in the folder'):
        read(tmp_path, dict(result=[BOX]), image='/data/upload/1/x-b.png')


def test_a_result_without_coordinates(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='a result of the type rectanglelabels cannot be read'):
        read(tmp_path, dict(result=[result('rectanglelabels', x=1)]))


def test_a_thin_polygon(tmp_path: Path) -> None:
    found = read(tmp_path, dict(result=[BOX, result('polygonlabels', points=[[0, 0], [50, 0]])]))
    assert '1 polygons of less than three points are left out' in found.notes
