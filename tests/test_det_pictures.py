"""Galleries: which errors are shown, and that the boxes are where the objects are."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from det_sets import HEIGHT, WIDTH, by_hand, made_up
from PIL import Image

from convnext_dense.report.det_matches import Detected
from convnext_dense.report.det_pictures import EACH, SIDE, around, chosen_errors, galleries
from convnext_dense.report.tide import tide

A, B, C, NOWHERE = (0, 0, 10, 10), (50, 50, 20, 20), (20, 60, 10, 10), (80, 0, 10, 10)
CAT, DOG = 0, 1
GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def with_pictures(detected: Detected, folder: Path) -> Detected:
    for image in detected.truth['images']:
        Image.fromarray(GREY).save(folder / image['file_name'])
    detected.images = folder
    return detected


def chosen(detected: Detected, kind: str) -> list[tuple]:
    return [error[1:3] for error in chosen_errors(detected, 'bbox', tide(detected, 'bbox'), kind)]


def pictures(html: str) -> list[np.ndarray]:
    urls = [part.partition('"')[0] for part in html.split('data:image/jpeg;base64,')[1:]]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url))), int) for url in urls]


def test_missed_objects_are_spread_over_classes_the_largest_first() -> None:
    truths = [(0, CAT, A), (0, CAT, B), (0, CAT, (0, 20, 30, 30)), (0, DOG, C), (0, DOG, (70, 60, 5, 5))]
    assert chosen(by_hand(truths, []), 'missed') == [(None, row) for row in (2, 3, 1, 4, 0)]
    many = by_hand([(0, CAT, A)] * 20, [])
    assert len(chosen(many, 'missed')) == EACH


def test_false_alarms_by_score() -> None:
    found = [(0, CAT, NOWHERE, 0.3), (1, DOG, NOWHERE, 0.9), (0, CAT, C, 0.6)]
    assert chosen(by_hand([(0, CAT, A)], found, images=2), 'background') == [(1, None), (2, None), (0, None)]


def test_all_galleries(tmp_path: Path) -> None:
    truths = [(0, CAT, A), (0, DOG, B), (0, CAT, C), (1, CAT, B)]
    found = [(0, DOG, A, 0.91), (0, DOG, (55, 50, 20, 10), 0.82), (1, CAT, NOWHERE, 0.73)]
    detected = with_pictures(by_hand(truths, found, ['<b>&', 'dog'], images=2), tmp_path)
    html = galleries(detected, 'bbox', tide(detected, 'bbox'))
    assert [part[4 : part.index('</h2>')] for part in html] == [
        'Missed objects',
        'False alarms',
        'Confused classes',
        'Badly placed',
    ]
    captions = [[text.partition('<')[0] for text in part.split('<figcaption>')[1:]] for part in html]
    assert captions == [
        ['&lt;b&gt;&amp;, 20 x 20 pixels: p1.png', '&lt;b&gt;&amp;, 10 x 10 pixels: p0.png'],
        ['&lt;b&gt;&amp; 0.73: p1.png'],
        ['dog 0.91, is &lt;b&gt;&amp;: p0.png'],
        ['dog 0.82, IoU 0.33: p0.png'],
    ]
    for part, count in zip(html, (2, 1, 1, 1)):
        images = pictures(part)
        assert len(images) == count and all(max(image.shape) == SIDE for image in images)
    reds = [(image[..., 0] - image[..., 1]).max() > 120 for part in html for image in pictures(part)]
    greens = [(image[..., 1] - image[..., 0]).max() > 90 for part in html for image in pictures(part)]
    assert reds == [False, False, True, True, True] and greens == [True, True, False, True, True]


def test_the_box_is_drawn_where_it_is() -> None:
    """A box of 20 pixels with a margin of 16: 52 pixels are cut out, drawn 240 / 52 as large."""
    pixels = np.asarray(around(GREY, (40, 30, 60, 50), None), int)
    assert pixels.shape == (SIDE, SIDE, 3)
    green = np.argwhere(pixels[..., 1] - pixels[..., 0] > 100)
    scale = SIDE / 52
    np.testing.assert_allclose(green.min(0), 16 * scale, atol=1.5)
    np.testing.assert_allclose(green.max(0), 36 * scale, atol=1.5)


@pytest.mark.parametrize('box', [(-50, -50, -40, -40), (200, 90, 210, 95), (0, 0, 100, 80), (99, 79, 99, 79), (60, 10, 40, 5)])
def test_boxes_at_the_edge_and_outside(box: tuple) -> None:
    assert max(around(GREY, None, box).size) == SIDE
    assert max(around(GREY[:1, :1], box, box).size) == SIDE


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    detected = by_hand([(0, CAT, A), (1, CAT, A), (2, CAT, A)], [], images=3)
    with_pictures(detected, tmp_path)
    (tmp_path / 'p0.png').write_bytes(b'no picture')
    (tmp_path / 'p1.png').unlink()
    (html,) = galleries(detected, 'bbox', tide(detected, 'bbox'))
    assert html.count('<img') == 1 and html.count('cannot be read: p') == 2


def test_other_channels(tmp_path: Path) -> None:
    detected = by_hand([(0, CAT, A)], [])
    detected.truth['images'][0]['file_name'] = 'a.npy'
    np.save(tmp_path / 'a.npy', np.random.default_rng(0).integers(0, 9999, (HEIGHT, WIDTH, 5), dtype=np.uint16))
    detected.images, detected.channels = tmp_path, 5
    assert len(pictures(galleries(detected, 'bbox', tide(detected, 'bbox'))[0])) == 1


def test_masks_are_shown_by_their_boxes(tmp_path: Path) -> None:
    detected = with_pictures(made_up(8), tmp_path)
    html = galleries(detected, 'segm', tide(detected, 'segm'))
    assert len(html) == 4 and all(part.count('<img') == part.count('<figure>') <= EACH for part in html)
