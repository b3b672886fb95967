"""CVAT's XML: polygons, turned boxes, run-length masks, and what it has no place for here."""

from pathlib import Path

import numpy as np
import pytest
from models import write_photograph

from convnext_dense.data.layouts.cvat import turned
from convnext_dense.data.layouts.index import drawn
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError


def read(root: Path, shapes: str, name: str = 'a.png', labels: str = '<label><name>cat</name></label>'):
    write_photograph(root / 'images/a.png', 60, 80)
    image = f'<image id="0" name="{name}" width="80" height="60" subset="Train">{shapes}</image>'
    text = f'<annotations><version>1.1</version><meta><job><labels>{labels}</labels></job></meta>{image}</annotations>'
    (root / 'annotations.xml').write_text(text)
    return read_folder(str(root))


def test_boxes_and_masks(tmp_path: Path) -> None:
    box = '<box label="cat" xtl="1.5" ytl="2" xbr="9" ybr="12" z_order="0"/>'
    half = '<box label="cat" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>'
    mask = '<mask label="cat" rle="1, 2, 3" left="5" top="7" width="3" height="2"/>'
    found = read(tmp_path, box + half + mask + '<polyline label="cat" points="1,1;2,2"/>')
    plain, round_one, pixels = found.pictures[0].objects
    assert plain.box == (1.5, 2, 9, 12) and plain.outline is None and found.pictures[0].split == 'train'
    assert round_one.box == pytest.approx((15, 5, 25, 25)) and found.notes == ['1 shapes of the kind polyline are left out']
    expected = np.zeros((60, 80), bool)
    expected[7, 6:8] = True
    assert np.array_equal(drawn(pixels.outline, (80, 60)), expected)


def test_a_box_turns_clockwise() -> None:
    assert turned((0, 0, 4, 2), 90) == pytest.approx([3, -1, 3, 3, 1, 3, 1, -1])


@pytest.mark.parametrize(
    ('shapes', 'words'),
    [
        ('<box label="dog" xtl="1" ytl="2" xbr="9" ybr="12"/>', "image a.png: expected one of the classes cat, got 'dog'"),
        ('<box label="cat" xtl="1" ytl="2" xbr="9"/>', 'a box cannot be read'),
        ('<mask label="cat" rle="1,2" left="5" top="7" width="3" height="2"/>', 'a mask cannot be read'),
        ('<blob label="cat"/>', 'expected polygon, box or mask, got blob'),
        ('<track/>', 'tracks of a video'),
    ],
)
def test_what_is_wrong(tmp_path: Path, shapes: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, shapes)


def test_a_thin_polygon_and_a_missing_picture(tmp_path: Path) -> None:
    box = '<box label="cat" xtl="1" ytl="2" xbr="9" ybr="12"/>'
    found = read(tmp_path, box + '<polygon label="cat" points="1,1;2,2"/>')
    assert found.notes == ['1 polygons of less than three points are left out']
    with pytest.raises(InputError, match=r'annotations.xml names b.png, which is not in'):
        read(tmp_path, '', name='b.png')


def test_a_broken_file(tmp_path: Path) -> None:
    read(tmp_path, '<box label="cat" xtl="1" ytl="2" xbr="9" ybr="12"/>')
    (tmp_path / 'annotations.xml').write_text('<annotations><version>1.1</version>')
    with pytest.raises(InputError, match='annotations.xml is no XML'):
        read_folder(str(tmp_path))


def test_many_files(tmp_path: Path) -> None:
    """A job each; a picture in two of them is an error."""
    box = '<box label="cat" xtl="1" ytl="2" xbr="9" ybr="12"/>'
    labels = '<meta><labels><label><name>cat</name></label></labels></meta>'
    for number in range(6):
        write_photograph(tmp_path / f'job{number}/{number}.png', 60, 80)
        image = f'<image id="0" name="{number}.png" width="80" height="60">{box}</image>'
        (tmp_path / f'job{number}/annotations.xml').write_text(f'<annotations>{labels}{image}</annotations>')
    assert len(read_folder(str(tmp_path)).pictures) == 6
    (tmp_path / 'job5/annotations.xml').write_text((tmp_path / 'job4/annotations.xml').read_text())
    with pytest.raises(InputError, match='4.png stands in .*job4.* and .*job5'):
        read_folder(str(tmp_path))
