"""A result's arrays, and the forms that other programs read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths
from results import CLASSES, detected, segmented

from convnext_dense.errors import InputError
from convnext_dense.predict.result import CLASS_COLUMNS, NOTHING, OBJECT_COLUMNS


def test_a_segmentors() -> None:
    result = segmented()
    assert (result.size, result.names, result.counts()) == ((20, 30), ['cat', 'hen'], {'cat': 275, 'hen': 325})
    assert result.boxes is None and result.class_map() is result.mask
    rows = result.rows()
    assert [list(row) for row in rows] == [CLASS_COLUMNS] * 2 and rows[0]['share'] == 275 / 600


def test_pixels_of_no_class_are_not_counted() -> None:
    mask = segmented().mask.copy()
    mask[mask == 2] = NOTHING
    result = segmented(mask=mask)
    assert result.counts() == {'cat': 275} and result.names == ['cat'] and len(result.to_coco()) == 1


def test_a_detectors() -> None:
    result = detected()
    assert (result.names, result.counts()) == (['dog', 'cat'], {'cat': 1, 'dog': 1})
    assert result.mask is None
    (dog, cat) = result.rows()
    assert list(dog) == OBJECT_COLUMNS and dog['area'] == 91 and cat['area'] == 120
    assert (dog['left'], dog['top'], dog['right'], dog['bottom']) == (3, 2, 13, 12)
    assert [row['area'] for row in detected(masks=False).rows()] == [100, 120]


def test_the_object_of_the_higher_score_is_on_top() -> None:
    found = detected().class_map()
    assert found[9, 11] == 1 and found[9, 20] == 0 and found[6, 6] == NOTHING == found[0, 0]
    boxes = detected(masks=False).class_map()
    assert boxes[9, 11] == 1 and boxes[6, 6] == 1 and boxes[0, 0] == NOTHING
    many = replace(detected(), classes=tuple(map(str, range(300)))).class_map()
    assert many.dtype == np.uint16 and many[0, 0] == 65535


@pytest.mark.parametrize('result', [segmented(), detected()], ids=['segmented', 'detected'])
def test_coco_annotations_hold_the_masks(result) -> None:
    rows = result.to_coco(image_id=7, first_id=40)
    masks = result.masks if result.mask is None else [result.mask == 0, result.mask == 2]
    assert [row['id'] for row in rows] == [40, 41] and all(row['image_id'] == 7 and row['iscrowd'] == 0 for row in rows)
    assert [row['category_id'] for row in rows] == ([2, 1] if result.mask is None else [1, 3])
    for row, mask in zip(rows, masks):
        assert np.array_equal(run_lengths.decode(row['segmentation']), mask) and row['area'] == mask.sum()
    assert json.loads(json.dumps(rows)) == rows


def test_coco_boxes() -> None:
    assert detected().to_coco()[1]['bbox'] == [10, 8, 15, 8] and detected(masks=False).to_coco()[0]['area'] == 100
    assert segmented().to_coco()[1]['bbox'] == [4, 0, 26, 20] and 'score' not in segmented().to_coco()[0]


def test_json() -> None:
    found = json.loads(detected().to_json())
    assert (found['source'], found['height'], found['width']) == ('dir/a.jpg', 20, 30)
    assert [one['name'] for one in found['objects']] == ['dog', 'cat'] and found['objects'][0]['score'] == pytest.approx(0.9)
    assert json.loads(segmented().to_json())['objects'][1]['name'] == 'hen'


@pytest.mark.parametrize('name', ['a.png', 'a.JPG', 'a.webp'])
def test_saving(tmp_path: Path, name: str) -> None:
    segmented().save(tmp_path / name)
    assert Image.open(tmp_path / name).size == (30, 20) and [p.name for p in tmp_path.iterdir()] == [name]


def test_saving_as_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='expected a name that ends in .png'):
        segmented().save(tmp_path / 'a.txt')
    assert not list(tmp_path.iterdir())


def test_supervision() -> None:
    pytest.importorskip('supervision')
    found = detected().to_supervision()
    assert found.class_id.tolist() == [1, 0] and found.data['class_name'].tolist() == ['dog', 'cat']
    assert np.array_equal(found.mask, detected().masks) and found.confidence[0] == np.float32(0.9)
    classes = segmented().to_supervision()
    assert len(segmented(mask=np.full((20, 30), NOTHING, np.uint8)).to_supervision()) == 0
    assert classes.xyxy.tolist() == [[0, 0, 15, 20], [4, 0, 30, 20]]
    assert classes.class_id.tolist() == [0, 2] and np.array_equal(classes.mask[1], segmented().mask == 2)


def test_pandas() -> None:
    pytest.importorskip('pandas')
    assert detected().to_pandas()['class'].tolist() == ['dog', 'cat'] and list(segmented().to_pandas()) == CLASS_COLUMNS
    nothing = detected(boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0), labels=np.zeros(0, int), mask_data=None)
    assert list(nothing.to_pandas()) == OBJECT_COLUMNS and len(CLASSES) == 3


@pytest.mark.parametrize('module, method', [('supervision', 'to_supervision'), ('pandas', 'to_pandas')])
def test_a_library_that_is_not_there_is_named(monkeypatch, module: str, method: str) -> None:
    monkeypatch.setitem(__import__('sys').modules, module, None)
    with pytest.raises(InputError, match=f'expected {module}, which is not installed'):
        getattr(detected(), method)()
