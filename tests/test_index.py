"""The record of a split: COCO's JSON, which pycocotools reads, with the mask files."""

import json
from pathlib import Path

import numpy as np
import pytest
from layout_sets import toy, write_coco
from pycocotools.coco import COCO

from convnext_dense.data.layouts.found import Found, Object, Picture, Values
from convnext_dense.data.layouts.index import area, as_runs, drawn, read, write
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError

SQUARE = [[1.0, 2.0, 7.0, 2.0, 7.0, 6.0, 1.0, 6.0]]


def test_pycocotools_reads_it(tmp_path: Path, capsys) -> None:
    write_coco(tmp_path / 'set', toy(tmp_path / 'toy'))
    found = read_folder(str(tmp_path / 'set'))
    write(found, found.pictures, tmp_path / 'a.json')
    api = COCO(str(tmp_path / 'a.json'))
    assert len(api.anns) == 18 and [api.cats[k]['name'] for k in sorted(api.cats)] == list(found.classes)
    first = api.loadAnns(api.getAnnIds([0]))[0]
    assert api.annToMask(first).sum() == pytest.approx(first['area'], rel=0.1)
    assert (found.root / api.imgs[0]['file_name']).is_file()


def test_crowds_boxes_and_masks(tmp_path: Path) -> None:
    objects = [Object(0, (1, 2, 7, 6), SQUARE, crowd=True), Object(1, (0, 0, 4, 5))]
    picture = Picture(tmp_path / 'a.png', 'a.png', (10, 8), objects, mask=tmp_path / 'm.png')
    found = Found('toy', 'toy', tmp_path, ('cat', 'dog'), [picture], Values({0: 255, 3: 1}))
    write(found, [picture], tmp_path / 'a.json')
    content = json.loads((tmp_path / 'a.json').read_text())
    crowd, box = content['annotations']
    assert crowd['iscrowd'] == 1 and isinstance(crowd['segmentation']['counts'], str) and crowd['area'] == 24
    assert box['bbox'] == [0, 0, 4, 5] and box['area'] == 20 and 'segmentation' not in box
    assert content['images'][0]['mask_file'] == str(tmp_path / 'm.png')
    assert content['values'] == dict(colours=False, classes=[[0, 255], [3, 1]])


def test_outlines() -> None:
    mask = drawn(SQUARE, (10, 8))
    assert mask.shape == (8, 10) and mask[2:6, 1:7].all() and mask.sum() == 24 == area(SQUARE, (10, 8))
    runs = as_runs(SQUARE, (10, 8))
    assert np.array_equal(drawn(runs, (10, 8)), mask) and area(runs, (10, 8)) == 24
    counts = dict(size=[2, 2], counts=[1, 2, 1])
    assert drawn(counts, (2, 2)).tolist() == [[False, True], [True, False]] and isinstance(
        as_runs(counts, (2, 2))['counts'], str
    )


def test_a_record_is_read_back(tmp_path: Path) -> None:
    objects = [
        Object(0, (1, 2, 7, 6), SQUARE),
        Object(1, (0, 0, 4, 5)),
        Object(1, (1, 2, 7, 6), as_runs(SQUARE, (10, 8)), True),
    ]
    first = Picture(tmp_path / 'a.png', 'a.png', (10, 8), objects, mask=tmp_path / 'm.png')
    other = Picture(tmp_path / 'b/ß.png', 'b/ß.png', (10, 8))
    found = Found('toy', 'its files', tmp_path, ('cat', 'dog'), [first, other], Values({0: 255, 3: 1}, colours=True))
    write(found, [first], tmp_path / 'train.json')
    write(found, [other], tmp_path / 'val.json')
    again, parts = read(tmp_path)
    assert parts == dict(train=[first], val=[other]) and again == found
    (tmp_path / 'val.json').write_text('{}')
    with pytest.raises(InputError, match='val.json is no record of a run'):
        read(tmp_path)
    with pytest.raises(InputError, match='expected the records of the run in'):
        read(tmp_path / 'nothing')
