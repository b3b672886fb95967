"""Pictures of a page: annotations in their colours, in their places, marks that are seen."""

import base64
import io
from pathlib import Path

import numpy as np
from layout_sets import painted, toy, write_coco, write_indices, write_voc
from PIL import Image

from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.report.html import SIDE
from convnext_dense.report.thumbnail import thumbnail

PALETTE = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def pixels(url: str) -> np.ndarray:
    assert url.startswith('data:image/jpeg;base64,')
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(',')[2]))), int)


def test_objects(tmp_path: Path) -> None:
    for write in (write_coco, write_voc):
        root = tmp_path / write.__name__
        write(root, toy(tmp_path / 'toy', size=(720, 540)))
        found = read_folder(str(root))
        picture = found.pictures[0]
        image = pixels(thumbnail(found, picture, PALETTE))
        assert image.shape == (SIDE * 3 // 4, SIDE, 3)
        plain = np.asarray(Image.open(picture.path).resize((SIDE, SIDE * 3 // 4)), int)
        for one in picture.objects:
            x, y = round((one.box[0] + one.box[2]) / 4), round((one.box[1] + one.box[3]) / 4)
            assert (image - plain)[y, x].argmax() == one.label


def test_masks_and_marks(tmp_path: Path) -> None:
    scenes = painted(toy(tmp_path / 'toy'))
    write_indices(tmp_path / 'data', scenes, ('building', 'sky', 'tree'))
    found = read_folder(str(tmp_path / 'data'))
    picture = found.pictures[0]
    image = pixels(thumbnail(found, picture, PALETTE, masks=True))
    plain = np.asarray(Image.open(picture.path), int)
    assert image.shape == plain.shape and image[scenes['train'][0].mask == 0].mean() < 0.5 * plain.mean()
    marked = pixels(thumbnail(found, picture, PALETTE, (30, 30, 31, 31), masks=True))
    assert np.abs(marked - image).max(2)[22:40, 22:40].max() > 100 > np.abs(marked - image).max(2)[45:, 45:].max()
    for corner in ((0, 0, 1, 1), (79, 59, 90, 70), (-50, -50, -40, -40)):
        assert thumbnail(found, picture, PALETTE, corner)


def test_sixteen_bits_are_stretched(tmp_path: Path) -> None:
    write_coco(tmp_path / 'data', toy(tmp_path / 'toy'))
    found = read_folder(str(tmp_path / 'data'))
    picture = found.pictures[0]
    picture.objects = []
    picture.path = tmp_path / 'deep.png'
    Image.fromarray((np.arange(4800, dtype=np.uint16) // 8 + 20000).reshape(60, 80)).save(picture.path)
    image = pixels(thumbnail(found, picture, PALETTE))
    assert image.min() < 10 and image.max() > 245


def test_what_cannot_be_read(tmp_path: Path) -> None:
    write_coco(tmp_path / 'data', toy(tmp_path / 'toy'))
    found = read_folder(str(tmp_path / 'data'))
    found.pictures[0].path.write_text('no picture')
    assert thumbnail(found, found.pictures[0], PALETTE) == ''
