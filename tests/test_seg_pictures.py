"""Thumbnails of mistakes: where the colours are, around what a crop is, and pictures that are gone."""

from pathlib import Path

import numpy as np
from evaluations import segmented
from test_html import opened

from convnext_dense.report.evaluated import FOLDER, MAPS, read_maps
from convnext_dense.report.look import Names
from convnext_dense.report.seg_pictures import NONE, SIDE, WRONG, confused, differences, four, pair_cells, readable

NAMES = Names(('a', 'b', 'c', 'd'), ((255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)))


def test_differences() -> None:
    rgb = np.full((1, 3, 3), 90, np.uint8)
    shown = differences(rgb, np.array([[0, 1, 255]]), np.array([[0, 2, 1]]), 4)
    assert shown[0].tolist() == [[30, 30, 30], list(WRONG), list(NONE)]


def test_four(tmp_path: Path) -> None:
    about = segmented(tmp_path, pictures=1)
    truth, predicted = read_maps(tmp_path / FOLDER / MAPS, 0)
    cells = four(about.pictures[0], truth, predicted, NAMES, None, 'name')
    assert [words for _, words in cells] == ['name', 'truth', 'prediction', 'differences']
    assert {opened(url, 'jpeg').size for url, _ in cells} == {(120, 90)}


def test_a_picture_that_is_gone_or_another_is_grey(tmp_path: Path) -> None:
    about = segmented(tmp_path, pictures=1)
    assert readable(about.pictures[0], (90, 120), None).std() > 5
    for path, size in ((str(tmp_path / 'gone.png'), (90, 120)), (about.pictures[0], (45, 60))):
        rgb = readable(path, size, None)
        assert rgb.shape == (*size, 3) and (rgb == 128).all()


def test_a_crop_is_around_the_largest_wrong_region(tmp_path: Path) -> None:
    about = segmented(tmp_path, pictures=2)
    cells = confused(tmp_path / FOLDER / MAPS, about, NAMES, [((2, 1), [(5, 0), (9, 1)])])
    assert [words for _, words in cells] == ['c taken for b: 9 pixels in 1.png', 'c taken for b: 5 pixels in 0.png']
    image = np.asarray(opened(cells[0][0], 'jpeg')).astype(int)
    red = (image[..., 0] > 180) & (image[..., 1] < 90)
    assert max(image.shape) == SIDE and red.any()


def test_two_predictions(tmp_path: Path) -> None:
    about = segmented(tmp_path, pictures=1)
    maps = read_maps(tmp_path / FOLDER / MAPS, 0)
    cells = pair_cells(about.pictures[0], [maps, maps], [NAMES, NAMES], None, ['one', 'two'])
    assert [words for _, words in cells] == ['0.png', 'truth', 'one', 'two'] and all(url for url, _ in cells)
