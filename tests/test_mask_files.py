"""Mask files as numbers, whatever their mode."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnext_dense.data.layouts.mask_files import colour_text, colours, packed, read_mask
from convnext_dense.errors import InputError

GREY = np.array([[0, 1], [1, 0]], np.uint8)


@pytest.mark.parametrize('mode', ['L', 'P', '1', 'LA', 'I;16'])
def test_one_channel(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(GREY.astype(np.uint16)) if mode == 'I;16' else Image.fromarray(GREY).convert('L')
    if mode == 'P':
        image = image.convert('P')
        image.putpalette([9, 9, 9, 200, 0, 0])
        image.putdata(GREY.ravel().tolist())
    elif mode == '1':
        image = Image.fromarray(GREY * 255).convert('1')
    elif mode == 'LA':
        image = image.convert('LA')
    image.save(tmp_path / 'a.png')
    expected = GREY * 255 if mode == '1' else GREY
    assert np.array_equal(read_mask(tmp_path / 'a.png'), expected)


def test_colours_as_one_number() -> None:
    rgb = np.array([[[1, 2, 3], [255, 0, 16]]], np.uint8)
    assert colours(rgb).tolist() == [[0x010203, 0xFF0010]] == packed(rgb).tolist()
    assert packed(GREY) is GREY and colour_text(0xFF0010) == '#ff0010'


def test_jpeg(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / 'a.jpg')
    with pytest.raises(InputError, match='a.jpg is a JPEG'):
        read_mask(tmp_path / 'a.jpg')
