"""Files of a picture, read back by the libraries whose formats they are."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from results import PALETTE, detected, segmented

from convnext_dense.data.rings import area
from convnext_dense.predict.writers import DRAWN, FORMATS, TOGETHER, WRITERS, outlines


def written(result, name: str, tmp_path: Path) -> Path:
    path = tmp_path / 'out'
    (WRITERS.get(name) or DRAWN).write(result, path)
    return path


def test_formats() -> None:
    assert set(FORMATS) == {'png', 'json', 'coco', 'labelme', 'csv', 'npz', 'geojson'} and set(TOGETHER) == {'coco', 'csv'}


def test_pngs_are_class_indices_with_a_palette(tmp_path: Path) -> None:
    for result in (segmented(), detected()):
        image = Image.open(written(result, 'png', tmp_path))
        assert image.mode == 'P' and np.array_equal(np.asarray(image), result.class_map())
        assert image.getpalette()[:9] == [value for colour in PALETTE for value in colour]


def test_many_classes_take_sixteen_bits(tmp_path: Path) -> None:
    classes = tuple(map(str, range(300)))
    result = segmented(mask=np.full((20, 30), 299, np.uint16), classes=classes, palette=PALETTE * 100)
    values = cv2.imread(str(written(result, 'png', tmp_path)), cv2.IMREAD_UNCHANGED)
    assert values.dtype == np.uint16 and (values == 299).all()


def test_pictures_are_jpegs(tmp_path: Path) -> None:
    image = Image.open(written(detected(), 'pictures', tmp_path))
    assert (image.format, image.size) == ('JPEG', (30, 20))


def test_npz(tmp_path: Path) -> None:
    with np.load(written(detected(), 'npz', tmp_path)) as found:
        assert set(found) == {'classes', 'boxes', 'scores', 'labels', 'masks'}
        assert np.array_equal(found['masks'], detected().masks) and found['classes'].tolist() == ['cat', 'dog', 'hen']
    with np.load(written(segmented(), 'npz', tmp_path)) as found:
        assert np.array_equal(found['mask'], segmented().mask)


def test_json(tmp_path: Path) -> None:
    assert json.loads(written(detected(), 'json', tmp_path).read_text()) == detected().to_dict()


def test_labelmes_polygons_painted_in_order_are_the_class_map(tmp_path: Path) -> None:
    content = json.loads(written(segmented(), 'labelme', tmp_path).read_text())
    assert (content['imageHeight'], content['imageWidth'], content['imagePath']) == (20, 30, 'a.jpg')
    canvas = Image.new('L', (30, 20), 255)
    for shape in content['shapes']:
        assert shape['shape_type'] == 'polygon' and len(shape['points']) > 2
        ImageDraw.Draw(canvas).polygon([tuple(p) for p in shape['points']], fill=('cat', 'dog', 'hen').index(shape['label']))
    assert np.array_equal(np.asarray(canvas), segmented().mask)


def test_labelme_finds_the_picture_from_any_folder(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/a.jpg').write_bytes(b'')
    monkeypatch.chdir(tmp_path)
    content = json.loads(written(segmented(source='in/a.jpg'), 'labelme', tmp_path).read_text())
    assert content['imagePath'] == str(tmp_path / 'in/a.jpg')


def test_labelme_groups_the_parts_of_an_object(tmp_path: Path) -> None:
    masks = detected().masks.copy()
    masks[1, :, 17] = False  # cut in two
    shapes = json.loads(written(detected(mask_data=masks), 'labelme', tmp_path).read_text())['shapes']
    assert sorted(shape['group_id'] for shape in shapes) == [0, 1, 1] and {s['label'] for s in shapes} == {'dog', 'cat'}


def test_geojson_closes_its_rings(tmp_path: Path) -> None:
    content = json.loads(written(detected(), 'geojson', tmp_path).read_text())
    assert content['type'] == 'FeatureCollection'
    dog, cat = content['features']
    assert (
        dog['properties'] == dict(name='dog', label=1, object=0, score=pytest.approx(0.9))
        and len(dog['geometry']['coordinates']) == 2
    )
    for feature in (dog, cat):
        assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in feature['geometry']['coordinates'])


def test_boxes_stand_in_for_masks(tmp_path: Path) -> None:
    (dog, _) = outlines(detected(masks=False))
    assert dog.ring.tolist() == [[3, 2], [3, 11], [12, 11], [12, 2]]
    (feature, _) = json.loads(written(detected(masks=False), 'geojson', tmp_path).read_text())['features']
    assert feature['geometry']['coordinates'] == [[[3, 2], [13, 2], [13, 12], [3, 12], [3, 2]]]


def test_geojsons_areas_are_the_pixels(tmp_path: Path) -> None:
    for result in (segmented(), detected()):
        features = json.loads(written(result, 'geojson', tmp_path).read_text())['features']
        total = sum(area(ring) for feature in features for ring in feature['geometry']['coordinates'])
        assert total == (result.mask.size if result.mask is not None else result.masks.sum())


def test_pictures_are_no_larger_than_jpeg_takes(tmp_path: Path) -> None:
    long = segmented(bgr=np.zeros((2, 70_000, 3), np.uint8), mask=np.zeros((2, 70_000), np.uint8))
    assert Image.open(written(long, 'pictures', tmp_path)).size == (16384, 1)
