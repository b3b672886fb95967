"""The toy set: reproducible, exact, the same scenes in both layouts."""

import cv2
import numpy as np
import pytest

from convnext_dense import InputError
from convnext_dense.data import shapes
from convnext_dense.data.shapes import CLASSES, SHAPES, draw_scene, write_shapes


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=4, val=2, seed=3)
    return root


def test_light_beyond_a_byte_is_cut_off(monkeypatch) -> None:
    def flat(rng, height, width, name, colour, contrast) -> np.ndarray:
        return np.full((height, width, 3), -60.0 if name == 'ground' else 400.0)

    monkeypatch.setattr(shapes, '_texture', flat)
    scene = draw_scene(0, 'training', 0)
    ground = (scene.labels == 1).astype(np.uint8)
    for region, value in ((ground, 0), (1 - ground, 255)):
        inner = cv2.erode(region, np.ones((5, 5)), borderValue=1) > 0  # the border is blurred
        assert inner.sum() > 1000 and (scene.image[inner] == value).all()


@pytest.mark.parametrize('name', CLASSES)
def test_a_texture_lies_between_its_two_colours(name: str) -> None:
    colour = np.array([200.0, 100.0, 50.0])
    field = shapes._texture(np.random.default_rng(0), 90, 120, name, colour, contrast=0.5)
    assert field.shape == (90, 120, 3)
    light = field / colour
    assert 0.5 <= light.min() < 0.55 and 0.95 < light.max() <= 1
    np.testing.assert_allclose(light, light[..., ::-1])


@pytest.mark.parametrize(
    'numbers, words',
    [
        (dict(train=0), 'at least one scene in each split and at most 100000, got 0 training and 1 validation'),
        (dict(val=0), 'got 1 training and 0 validation'),
        (dict(train=100_001), 'got 100001 training'),
        (dict(train=True), 'got True training'),
        (dict(val=1.0), 'got 1 training and 1.0 validation'),
        (dict(seed=-1), 'seed: expected an integer of 0 or more, got -1'),
        (dict(seed=True), 'seed: .* got True'),
        (dict(seed=1.5), 'seed: .* got 1.5'),
    ],
)
def test_numbers_that_are_none(tmp_path, numbers, words: str) -> None:
    with pytest.raises(InputError, match=words):
        write_shapes(tmp_path / 'new', **(dict(train=1, val=1) | numbers))
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full(tmp_path, monkeypatch) -> None:
    def full(*args) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(shapes, '_write_picture', full)
    with pytest.raises(InputError, match='deep/new: expected a place to write the set to .*No space left.*; name another'):
        write_shapes(tmp_path / 'deep' / 'new', train=1, val=1)
    monkeypatch.setattr(shapes, '_write_picture', lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_shapes(tmp_path / 'new', train=1, val=1)
    assert not list(tmp_path.iterdir()), 'nothing of it is left, folders neither'


def test_places_that_cannot_be(tmp_path) -> None:
    (tmp_path / 'file').touch()
    (tmp_path / 'round').symlink_to(tmp_path / 'round')
    (tmp_path / 'new.partial').mkdir()
    for name, words in {
        'file': 'expected a folder that is not there yet',
        'round': 'expected a folder that is not there yet',
        'new': 'new.partial: expected no such folder, which is what another run writes to',
        'file/new': 'expected a place to write the set to',
        'x' * 300: 'expected a place to write the set to|too long',
    }.items():
        with pytest.raises(InputError, match=words):
            write_shapes(tmp_path / name, train=1, val=1)
    assert {path.name for path in tmp_path.iterdir()} == {'file', 'round', 'new.partial'}


def test_detections_about_the_objects() -> None:
    truth = shapes.coco_of([draw_scene(0, 'training', i) for i in range(3)], 'three scenes')
    assert truth['info']['description'] == 'three scenes'
    rows = shapes.noisy_detections(truth, 40)
    assert rows == shapes.noisy_detections(truth, 40) != shapes.noisy_detections(truth, 40, seed=1)
    count = len(truth['annotations'])
    assert len(rows) == 40 * count
    labels = [(row['category_id'], truth['annotations'][i // 40]['category_id']) for i, row in enumerate(rows)]
    right = np.mean([found == own for found, own in labels])
    assert right == pytest.approx(0.8 + 0.2 / 5, abs=0.06) and {found for found, _ in labels} == {1, 2, 3, 4, 5}
    for i, row in enumerate(rows):
        own = truth['annotations'][i // 40]
        assert set(row) == {'image_id', 'category_id', 'score', 'segmentation', 'bbox'} and row['image_id'] == own['image_id']
        if own['bbox'][0] > 10 and own['bbox'][0] + own['bbox'][2] < 118:
            assert abs(row['bbox'][0] - own['bbox'][0]) <= 6


@pytest.mark.parametrize('low, expected', [(True, (150, 110)), (False, (255, 255))])
def test_the_limits_of_a_vivid_colour(low: bool, expected: tuple[int, int]) -> None:
    class Extreme:
        def normal(self, mean: float, deviation: float) -> float:
            return mean

        def integers(self, start: int, stop: int) -> int:
            return start if low else stop - 1

    colours = [shapes._vivid(Extreme(), kind) for kind in range(len(SHAPES))]
    for kind, colour in enumerate(colours):
        hsv = np.array([[[36 * kind, *expected]]], np.uint8)
        assert (colour == cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0]).all()


def test_a_failed_set_takes_nothing_of_others_along(tmp_path, monkeypatch) -> None:
    def fails(root, split, count, seed, grid):
        root.mkdir(parents=True)
        (tmp_path / 'new' / 'of another').write_text('here')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(shapes, '_write_split', fails)
    with pytest.raises(InputError, match='No space left'):
        shapes.write_shapes(tmp_path / 'new' / 'deep' / 'set', 1, 1)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*')] == ['new', 'new/of another']
