"""The toy set: reproducible, exact, the same scenes in both layouts."""

import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from convnext_dense import InputError
from convnext_dense.data.shapes import CLASSES, PALETTE, SHAPES, SPLITS, draw_scene, write_shapes


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=4, val=2, seed=3)
    return root


def test_the_same_seed_gives_the_same_scene() -> None:
    one, same = draw_scene(3, 'training', 1), draw_scene(3, 'training', 1)
    assert (one.image == same.image).all() and (one.labels == same.labels).all()
    for other in (draw_scene(4, 'training', 1), draw_scene(3, 'validation', 1), draw_scene(3, 'training', 2)):
        assert one.image.shape != other.image.shape or (one.image != other.image).any()


def test_labels_are_the_instances_and_every_class_occurs() -> None:
    seen, count = set(), 0
    for index in range(40):
        scene = draw_scene(0, 'training', index)
        labels = np.ones_like(scene.labels)
        for kind, mask in scene.instances:
            assert (labels[mask > 0] == 1).all(), 'instances overlap'
            labels[mask > 0] = kind + 2
        assert (labels == scene.labels).all()
        seen |= set(np.unique(labels))
        count += len(scene.instances)
    assert seen == set(range(1, len(CLASSES) + 1))
    assert len(PALETTE) == len(CLASSES) == len(SHAPES) + 1
    assert count == 143, 'shapes that would cover more than their share of others are not drawn'


@pytest.mark.parametrize('split', SPLITS)
def test_both_layouts_tell_the_same(root, split: str) -> None:
    coco = COCO(root / f'instances_{split}.json')
    assert len(coco.imgs) == len(list((root / 'images' / split).glob('*.jpg'))) == (4 if split == 'training' else 2)
    for info in coco.imgs.values():
        image = cv2.imread(str(root / 'images' / split / info['file_name']))
        labels = cv2.imread(str(root / 'annotations' / split / info['file_name'].replace('.jpg', '.png')), cv2.IMREAD_UNCHANGED)
        assert image.shape[:2] == labels.shape == (info['height'], info['width'])
        drawn = np.ones_like(labels)
        for annotation in coco.loadAnns(coco.getAnnIds(info['id'])):
            mask = coco.annToMask(annotation)
            drawn[mask > 0] = annotation['category_id'] + 1
            assert annotation['area'] == mask.sum()
            ys, xs = np.nonzero(mask)
            assert annotation['bbox'] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert (drawn == labels).all()


def test_annotation_ids_are_unique(root) -> None:
    ids = [a['id'] for a in json.loads((root / 'instances_training.json').read_text())['annotations']]
    assert len(ids) == len(set(ids)) and min(ids) == 1


def test_an_existing_folder_is_left_alone(root, tmp_path) -> None:
    with pytest.raises(InputError, match='expected a folder that is not there yet'):
        write_shapes(root, train=1, val=1)
    with pytest.raises(InputError, match='at least one scene'):
        write_shapes(tmp_path / 'new', train=0, val=1)
    assert not list(tmp_path.iterdir())


def test_light_and_noise_beyond_the_range_are_clipped(monkeypatch) -> None:
    """Without clipping, values over 255 would come round as dark pixels."""
    import convnext_dense.data.shapes as shapes

    real, clipped = np.clip, []

    def clip(values, low, high):
        clipped.append((low, high, values.max(), values.min()))
        return real(values, low, high)

    monkeypatch.setattr(shapes.cv2, 'GaussianBlur', lambda image, *_: np.where(image > image.mean(), 900.0, -900.0))
    monkeypatch.setattr(shapes.np, 'clip', clip)
    image = draw_scene(0, 'training', 0).image
    assert set(np.unique(image)) == {0, 255}
    assert clipped[-1][:2] == (0, 255) and clipped[-1][2] > 800 and clipped[-1][3] < -800


@pytest.mark.parametrize(
    'given, message',
    [
        (dict(train=-1), 'at least one scene .* got -1 training and 1 validation'),
        (dict(val=0), 'at least one scene .* got 1 training and 0 validation'),
        (dict(val=100_001), 'at most 100000'),
        (dict(train=1.5), 'at least one scene'),
        (dict(seed=-1), 'seed: expected an integer of 0 or more, got -1'),
        (dict(seed='a'), "seed: expected .* got 'a'"),
    ],
)
def test_wrong_numbers(tmp_path, given, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_shapes(tmp_path / 'new', **{**dict(train=1, val=1), **given})
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    (tmp_path / 'other.partial').mkdir()
    for name, message in (
        ('file/new', 'file/new: expected a place to write the set to .*Not a directory'),
        ('x' * 300, 'expected a place to write the set to .*name too long'),
        ('loop', 'expected a folder that is not there yet'),
        ('loop/new', 'expected a place to write the set to'),
        ('other', 'other.partial: expected no such folder'),
    ):
        with pytest.raises(InputError, match=message):
            write_shapes(tmp_path / name, train=1, val=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'loop', 'other.partial']


@pytest.mark.parametrize(
    'error, raised', [(OSError(28, 'No space left on device'), InputError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_set_that_is_half_written_is_removed(tmp_path, monkeypatch, error: BaseException, raised: type) -> None:
    from pathlib import Path

    write, calls = Path.write_bytes, []

    def fail(self, content):
        calls.append(self)
        if len(calls) > 2:
            raise error
        return write(self, content)

    monkeypatch.setattr(Path, 'write_bytes', fail)
    with pytest.raises(raised, match='No space left' if raised is InputError else None):
        write_shapes(tmp_path / 'deep' / 'new', train=3, val=1)
    assert len(calls) == 3 and not list(tmp_path.iterdir())
    monkeypatch.undo()
    write_shapes(tmp_path / 'deep' / 'new', train=1, val=1)
    assert [path.name for path in (tmp_path / 'deep').iterdir()] == ['new']


def test_a_grid_of_scenes_has_many_small_objects(tmp_path) -> None:
    write_shapes(tmp_path / 'grid', train=1, val=2, grid=3)
    truth = COCO(tmp_path / 'grid/instances_validation.json')
    assert {(image['height'], image['width']) for image in truth.imgs.values()} == {(288, 288)}
    areas = [annotation['area'] for annotation in truth.anns.values()]
    singles = [draw_scene(0, 'validation', index) for index in range(18)]
    assert len(areas) == sum(len(scene.instances) for scene in singles) and np.mean(np.array(areas) < 32**2) > 0.5
    labels = cv2.imread(str(tmp_path / 'grid/annotations/validation/scene_00001.png'), cv2.IMREAD_UNCHANGED)
    cell = cv2.resize(singles[9 + 4].labels, (96, 96), interpolation=cv2.INTER_NEAREST)  # the middle one
    assert np.array_equal(labels[96:192, 96:192], cell)


@pytest.mark.parametrize('grid', [0, 33, 1.5, True])
def test_grids_that_cannot_be(tmp_path, grid) -> None:
    with pytest.raises(InputError, match='grid: expected an integer from 1 to 32'):
        write_shapes(tmp_path / 'grid', 1, 1, grid=grid)
