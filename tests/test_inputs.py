"""What may be given to predict on, and what is said of what may not."""

import http.server
import threading
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from channel_sets import picture
from models import photograph, write_photograph
from PIL import Image

from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import InputError
from convnext_dense.predict import inputs
from convnext_dense.predict.inputs import as_bgr, as_channels, check_readable, count, downloaded, is_one, items

RGB = photograph(6, 8)


def names(given, **options) -> list[str]:
    return [item.name for item in items(given, **options)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ('b.jpg', 'a.PNG', 'sub/c.png', 'sub/d.tif'):
        write_photograph(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('no picture')
    return tmp_path


def test_folders_and_patterns(folder: Path) -> None:
    assert names(folder) == ['a', 'b'] == names(f'{folder}/*')
    assert names(folder, recursive=True) == ['a', 'b', 'sub/c', 'sub/d']
    assert names(f'{folder}/sub/?.png') == ['c']
    assert names([folder / 'b.jpg', folder / 'sub']) == ['b', 'c', 'd']
    assert (count(folder), count([folder / 'b.jpg', folder]), count(folder, True)) == (2, 3, 4)
    assert count(iter([])) is None and count('x.mp4') is None and count(folder / 'b.jpg') == 1
    with pytest.raises(InputError, match='x.jpg which is not there'):
        count([folder, 'x.jpg'])
    assert [item.file for item in items(folder, recursive=True)] == ['a.PNG', 'b.jpg', 'sub/c.png', 'sub/d.tif']
    assert names(f'{folder}/**/*.[pj]*g') == ['b', 'sub/c']


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    path = write_photograph(tmp_path / 'a[1].png')
    assert names(path) == ['a[1]'] and is_one(path)


def test_what_is_one_picture(folder: Path) -> None:
    ones = [folder / 'b.jpg', 'http://x.org/a.jpg', RGB, Image.fromarray(RGB), torch.zeros(3, 5, 5)]
    assert all(map(is_one, ones))
    several = [folder, f'{folder}/*', 'a.mp4', 'http://x.org/a.MP4?x=1', [RGB], iter([RGB]), torch.zeros(2, 3, 5, 5)]
    assert not any(map(is_one, several))


def test_pictures_in_memory_are_numbered() -> None:
    assert names([RGB, Image.fromarray(RGB)]) == ['000000', '000001'] == names(np.stack([RGB, RGB]))
    assert names(iter([RGB])) == ['000000'] and names(RGB) == ['picture']


@pytest.mark.parametrize(
    'given, line',
    [
        ('nothing.jpg', 'nothing.jpg which is not there'),
        ('', 'got an empty one'),
        ('ftp://x.org/a.jpg', 'URL of http or https'),
        ('*.nothing', 'fit the pattern'),
        (5, 'got int'),
        (b'bytes', 'got bytes'),
        ([5], 'input 0: .*got int'),
        (np.zeros((2, 2, 2, 2, 2)), 'shape'),
    ],
)
def test_what_cannot_be(given, line: str) -> None:
    with pytest.raises(InputError, match=line):
        list(items(given))


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(InputError, match='found none; --recursive'):
        items(tmp_path)


@pytest.mark.parametrize(
    'given',
    [
        RGB,
        np.dstack([RGB, np.full(RGB.shape[:2], 7, np.uint8)]),
        RGB / np.float32(255),
        RGB.astype(np.uint16) * 257,
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        Image.fromarray(RGB),
        Image.fromarray(np.dstack([RGB, np.full(RGB.shape[:2], 7, np.uint8)])),
    ],
)
def test_every_kind_is_the_same_picture(given) -> None:
    assert np.array_equal(as_bgr(given), RGB[..., ::-1])


def test_grey_and_sixteen_bits_and_turned() -> None:
    grey = RGB[..., 0]
    same = np.repeat(grey[..., None], 3, axis=2)
    for given in (grey, torch.from_numpy(grey[None]), Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) * 257)):
        assert np.array_equal(as_bgr(given), same)
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = 6
    assert np.array_equal(as_bgr(image), np.rot90(RGB[..., ::-1], -1))


@pytest.mark.parametrize(
    'given, line',
    [
        (np.zeros((4, 4, 2), np.uint8), r'\(H, W, 3\)'),
        (np.zeros((3, 4, 5), np.uint8), r'\(H, W, 3\)'),
        (np.zeros((0, 4, 3), np.uint8), 'shape'),
        (torch.zeros(4, 4, 3), r'tensor \(3, H, W\)'),
        (np.full((2, 2, 3), 2.0), 'floats from 0 to 1, got .* to 2'),
        (np.full((2, 2, 3), np.nan), 'floats from 0 to 1'),
        (np.zeros((2, 2, 3), np.int64), 'got int64'),
        (np.zeros((2, 2, 3), np.int32), 'got int32'),
    ],
)
def test_arrays_that_are_no_pictures(given, line: str) -> None:
    with pytest.raises(InputError, match=line):
        as_bgr(given)


def test_a_bomb_is_named_with_its_size_and_the_option(tmp_path: Path, monkeypatch) -> None:
    path = write_photograph(tmp_path / 'a.png', 30, 40)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(UnreadableError, match='1,200 pixels, where 1,000 .* --max-pixels 1200 allows it'):
        check_readable(str(path))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1200)
    check_readable(str(path))


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_cut_off_files_are_noticed(tmp_path: Path, suffix: str) -> None:
    path = write_photograph(tmp_path / f'a.{suffix}', 200, 300)
    check_readable(str(path))
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UnreadableError):
            check_readable(str(path))


@pytest.fixture
def server(tmp_path: Path):
    write_photograph(tmp_path / 'a.jpg')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args) -> None:
            pass

    with http.server.ThreadingHTTPServer(('localhost', 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f'http://localhost:{running.server_port}'
        running.shutdown()


def test_a_url_is_read(server: str, tmp_path: Path) -> None:
    path = downloaded(f'{server}/a.jpg?size=1')
    assert Path(path).read_bytes() == (tmp_path / 'a.jpg').read_bytes() and cv2.imread(path) is not None
    assert names(f'{server}/a.jpg?size=1') == ['a']
    Path(path).unlink()


def test_urls_that_do_not_answer(server: str, monkeypatch) -> None:
    with pytest.raises(UnreadableError, match='not found.*check the URL'):
        downloaded(f'{server}/b.jpg')
    with pytest.raises(UnreadableError, match='refused'):
        downloaded('http://localhost:9/a.jpg')
    with pytest.raises(UnreadableError, match='cannot be downloaded'):
        downloaded('http://localhost:9/a b.jpg')
    monkeypatch.setattr(inputs, 'MAX_DOWNLOAD', 10)
    with pytest.raises(UnreadableError, match='more than 10 bytes'):
        downloaded(f'{server}/a.jpg')


def test_other_channels_in_memory_keep_their_values() -> None:
    values = picture(4)
    for given in (values, torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)):
        found = as_channels(given, 'picture', 4)
        assert found.dtype == np.float32 and np.array_equal(found, values)
    grey = picture(1)[..., 0]
    for given in (grey, Image.fromarray(grey), torch.from_numpy(grey.astype(np.float32))):
        assert np.array_equal(as_channels(given, 'picture', 1)[..., 0], grey)
    for given, line in ((values[..., :3], 'picture 3 is 3-channel data'), (np.full((5, 6, 4), np.inf), 'picture 3 has NaN')):
        with pytest.raises(InputError, match=line):
            as_channels(given, 'picture 3', 4)


def test_arrays_in_files_are_pictures_of_a_model_of_other_channels(tmp_path: Path) -> None:
    write_photograph(tmp_path / 'a.png')
    np.save(tmp_path / 'b.npy', picture(4))
    convert = partial(as_channels, channels=4)
    assert [item.name for item in items(str(tmp_path), convert=convert)] == ['a', 'b']
    assert [item.name for item in items(str(tmp_path))] == ['a']
    (item,) = items(picture(4), convert=convert)
    assert np.array_equal(item.given, picture(4))
    assert len(list(items(np.stack([picture(4)] * 2), convert=convert))) == 2
    with pytest.raises(InputError, match='got the video x.mp4'):
        items('x.mp4', convert=convert)
