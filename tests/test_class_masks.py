"""Classes by pixel, from values and from outlines."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnext_dense.data.layouts.class_masks import Lookup, draw
from convnext_dense.errors import InputError


def test_values_to_classes(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 7, 255]], np.uint8)).save(tmp_path / 'a.png')
    lookup = Lookup([(7, 1), (0, 255), (255, 0)], colours=False)
    assert lookup(tmp_path / 'a.png').tolist() == [[255, 1, 0]]
    Image.fromarray(np.array([[0, 8]], np.uint8)).save(tmp_path / 'b.png')
    with pytest.raises(InputError, match=r'b.png has the value 8, which no class has'):
        lookup(tmp_path / 'b.png')
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / 'c.png')
    with pytest.raises(InputError, match=r'c.png: expected values, as the other masks have'):
        lookup(tmp_path / 'c.png')


def test_colours_to_classes(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[0, 0, 0], [0, 0, 9]]], np.uint8)).save(tmp_path / 'a.png')
    assert Lookup([(9, 2), (0, 1)], colours=True)(tmp_path / 'a.png').tolist() == [[1, 2]]


@pytest.mark.parametrize('turned', [False, True])
def test_small_outlines_lie_on_large_ones_in_any_order(turned: bool) -> None:
    large, small = (1, [[0, 0, 8, 0, 8, 8, 0, 8]]), (2, [[2, 2, 4, 2, 4, 4, 2, 4]])
    mask = draw([small, large] if turned else [large, small], (10, 9), 0)
    assert mask.shape == (9, 10) and (mask == 2).sum() == 4 and (mask == 1).sum() == 60 and (mask == 0).sum() == 26
