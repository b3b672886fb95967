"""Windows of pictures in memory and of TIFF files of every layout."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from models import photograph

from convnext_dense.data.pictures import UnreadableError
from convnext_dense.predict.windows import InMemory, Tiff, is_tiff, reduced

RGB = photograph(150, 200)
WINDOWS = [(0, 0, 150, 200), (0, 0, 1, 1), (149, 199, 1, 1), (40, 50, 70, 90), (63, 63, 2, 2), (100, 0, 50, 200)]
LAYOUTS = {
    'strips': dict(rowsperstrip=16),
    'one strip': {},
    'big-endian': dict(byteorder='>'),
    'tiles': dict(tile=(64, 48)),
    'zlib': dict(tile=(64, 64), compression='zlib', predictor=True),
    'zlib strips': dict(rowsperstrip=7, compression='zlib'),
    'planes': dict(planarconfig='separate', tile=(64, 64)),
    'plane strips': dict(planarconfig='separate', rowsperstrip=16),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_windows_of_every_layout(tmp_path: Path, layout: str) -> None:
    options = LAYOUTS[layout]
    data = RGB.transpose(2, 0, 1) if 'planarconfig' in options else RGB
    tifffile.imwrite(tmp_path / 'a.tif', data, photometric='rgb', **options)
    picture, memory = Tiff(str(tmp_path / 'a.tif')), InMemory(RGB[..., ::-1])
    assert picture.size == memory.size == (150, 200)
    for window in WINDOWS:
        assert np.array_equal(picture.read(*window), memory.read(*window))
    assert np.array_equal(picture.read(0, 0, 150, 200), cv2.imread(str(tmp_path / 'a.tif')))


@pytest.mark.parametrize('kind', ['grey', 'grey 16', 'rgb 16', 'rgba'])
def test_bands_and_bits(tmp_path: Path, kind: str) -> None:
    data = {
        'grey': RGB[..., 0],
        'grey 16': RGB[..., 0].astype(np.uint16) * 256 + 77,
        'rgb 16': RGB.astype(np.uint16) * 256 + 77,
        'rgba': np.dstack([RGB, RGB[..., :1]]),
    }[kind]
    photometric = 'rgb' if 'rgb' in kind else 'minisblack'
    tifffile.imwrite(tmp_path / 'a.tif', data, photometric=photometric)
    expected = np.repeat(RGB[..., :1], 3, axis=2) if 'grey' in kind else RGB[..., ::-1]
    assert np.array_equal(Tiff(str(tmp_path / 'a.tif')).read(10, 20, 50, 60), expected[10:60, 20:80])


def test_five_bands_are_refused(tmp_path: Path) -> None:
    bands = np.dstack([RGB, RGB[..., :2]])
    tifffile.imwrite(tmp_path / 'a.tif', bands, photometric='minisblack', planarconfig='contig', tile=(64, 64))
    with pytest.raises(UnreadableError, match='has 5 bands; expected 1, 3 or 4'):
        Tiff(str(tmp_path / 'a.tif'))


@pytest.mark.parametrize('layout', ['tiles', 'zlib strips', 'planes'])
def test_rows_that_are_let_go_are_read_again(tmp_path: Path, layout: str, monkeypatch) -> None:
    monkeypatch.setattr('convnext_dense.predict.windows.CACHE', 1)
    monkeypatch.setattr('convnext_dense.predict.windows.BAND', 20)
    data = RGB.transpose(2, 0, 1) if layout == 'planes' else RGB
    tifffile.imwrite(tmp_path / 'a.tif', data, photometric='rgb', **LAYOUTS[layout])
    picture = Tiff(str(tmp_path / 'a.tif'))
    for window in [*WINDOWS, *WINDOWS[::-1]]:
        assert np.array_equal(picture.read(*window), InMemory(RGB[..., ::-1]).read(*window))
    picture.read(0, 0, 5, 5)
    assert len(picture.kept) <= 8


def test_only_what_a_window_touches_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / 'a.tif', np.zeros((4096, 4096, 3), np.uint8), photometric='rgb', tile=(256, 256))
    picture = Tiff(str(tmp_path / 'a.tif'))
    tracemalloc.start()
    picture.read(1000, 1000, 300, 300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(len(band.there) for band in picture.kept.values()) == 9 and peak < 20 * 2**20


def test_one_strip_is_read_by_rows(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / 'a.tif', np.zeros((4096, 4096, 3), np.uint16), photometric='rgb')
    picture = Tiff(str(tmp_path / 'a.tif'))
    tracemalloc.start()
    picture.read(1000, 1000, 300, 300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not picture.kept and peak < 5 * 2**20


def test_georeference_is_kept(tmp_path: Path) -> None:
    scale = (33550, 'd', 3, (0.5, 0.5, 0.0), True)
    tifffile.imwrite(tmp_path / 'a.tif', RGB, photometric='rgb', extratags=[scale], metadata=None)
    assert Tiff(str(tmp_path / 'a.tif')).geo[0][2:] == scale[2:]


def test_what_is_no_tiff(tmp_path: Path) -> None:
    (tmp_path / 'a.tif').write_text('no picture')
    with pytest.raises(UnreadableError, match='cannot be read as a TIFF'):
        Tiff(str(tmp_path / 'a.tif'))
    tifffile.imwrite(tmp_path / 'b.tif', RGB.astype(np.float32))
    with pytest.raises(UnreadableError, match='has values of type float32; expected 8 or 16 bits'):
        Tiff(str(tmp_path / 'b.tif'))
    for options in ({}, dict(rowsperstrip=16, compression='zlib')):
        tifffile.imwrite(tmp_path / 'c.tif', RGB, photometric='rgb', **options)
        content = (tmp_path / 'c.tif').read_bytes()
        (tmp_path / 'c.tif').write_bytes(content[:20_000])
        with pytest.raises(UnreadableError, match='cannot be read'):
            Tiff(str(tmp_path / 'c.tif')).read(0, 0, 150, 200)
    assert is_tiff('x.TIF') and is_tiff('a.tiff') and not is_tiff('a.png')


@pytest.mark.parametrize('longest', [50, 67, 199])
def test_a_reduced_picture_is_that_of_opencv_nearly(longest: int, monkeypatch) -> None:
    picture = InMemory(RGB[..., ::-1])
    whole = reduced(picture, longest)
    assert max(whole.shape) == longest
    expected = cv2.resize(picture.image, whole.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(whole.astype(int) - expected).mean() < 2
    assert reduced(picture, 200) is not None and np.array_equal(reduced(picture, 500), picture.image)


@pytest.mark.parametrize(
    'options', [dict(photometric='miniswhite'), dict(photometric='minisblack', extratags=[(274, 'H', 1, 3, True)])]
)
def test_colours_and_turns_that_are_not_read(tmp_path: Path, options) -> None:
    tifffile.imwrite(tmp_path / 'a.tif', RGB[..., 0], **options)
    with pytest.raises(UnreadableError, match='expected grey or RGB as it lies'):
        Tiff(str(tmp_path / 'a.tif'))


@pytest.mark.parametrize('channels', [1, 5, 12])
def test_other_channels_are_reduced_each_for_itself(channels: int, monkeypatch) -> None:
    image = np.random.default_rng(0).normal(0, 1, (90, 120, channels)).astype(np.float32)
    whole = reduced(InMemory(image), 60)
    assert whole.shape == (45, 60, channels) and whole.dtype == np.float32
    for index in range(channels):
        np.testing.assert_allclose(
            whole[..., index], cv2.resize(image[..., index], (60, 45), interpolation=cv2.INTER_AREA), atol=1e-5
        )
