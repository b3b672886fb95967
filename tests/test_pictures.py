"""What a picture or a mask may be: as the libraries that train read it, or named in words."""

import struct

import mmcv
import numpy as np
import pytest
from PIL import Image

from convnext_dense.data.pictures import UnreadableError, image_size, is_file, mask_values, values_of

MASK = (np.arange(35) % 6).astype(np.uint8).reshape(5, 7)
COLOUR = np.repeat(MASK[..., None] * 40, 3, axis=2)


def save(tmp_path, pixels, name: str = 'a.png', **options):
    path = tmp_path / name
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(path, **options)
    return path


def animated(tmp_path, name: str = 'a.gif'):
    frames = [Image.fromarray(MASK + i) for i in range(3)]
    return save(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif'])
def test_a_size_is_that_which_training_reads(tmp_path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, COLOUR, f'a.{suffix}', exif=exif)
    height, width = mmcv.imread(str(path)).shape[:2]
    assert image_size(path) == ((width, height), orientation)


@pytest.mark.parametrize('size', [(1, 1), (1, 10_000), (10_000, 1), (3, 2)])
def test_sizes_of_every_kind(tmp_path, size) -> None:
    assert image_size(save(tmp_path, Image.new('RGB', size))) == (size, 1)


@pytest.mark.parametrize(
    'mode, name', [('L', 'a.png'), ('RGBA', 'a.png'), ('1', 'a.png'), ('P', 'a.png'), ('CMYK', 'a.jpg'), ('I;16', 'a.tif')]
)
def test_modes_that_training_reads(tmp_path, mode: str, name: str) -> None:
    assert image_size(save(tmp_path, Image.new(mode, (7, 5)), name))[0] == (7, 5)


def test_pictures_that_are_none(tmp_path) -> None:
    (tmp_path / 'folder.png').mkdir()
    (tmp_path / 'text.png').write_text('no picture')
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'link.png').symlink_to(tmp_path / 'nowhere.png')
    whole = save(tmp_path, np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8), 'whole.jpg').read_bytes()
    (tmp_path / 'half.jpg').write_bytes(whole[: len(whole) // 2])
    for name, words in {
        'folder.png': 'is a folder; expected a picture',
        'text.png': 'cannot be read (cannot identify image file',
        'empty.png': 'cannot be read (cannot identify image file',
        'link.png': 'cannot be read ([Errno 2] No such file',
        'half.jpg': 'cannot be read (',
    }.items():
        for read in (image_size, lambda path: mask_values(path, 'pillow')):
            with pytest.raises(UnreadableError) as caught:
                read(tmp_path / name)
            lossy = name == 'half.jpg' and read is not image_size  # refused before it is read
            assert ('is a JPEG' if lossy else words) in str(caught.value) and '\n' not in str(caught.value)


def test_a_picture_that_opencv_does_not_read(tmp_path) -> None:
    """Pillow alone reads it, so that the check must not be Pillow's."""
    path = save(tmp_path, Image.new('RGB', (7, 5)), 'a.pcx')
    assert mmcv.imread(str(path)) is None
    with pytest.raises(UnreadableError, match='is a PCX of mode RGB, which OpenCV does not read as an image; save it as PNG'):
        image_size(path)


def test_several_pictures_in_a_file(tmp_path) -> None:
    with pytest.raises(UnreadableError, match='is a GIF of 3 frames; expected one picture'):
        image_size(animated(tmp_path))
    assert image_size(animated(tmp_path, 'a.tif'))[0] == (7, 5)  # the first is the picture


@pytest.mark.parametrize('most', [30, 15])  # a warning, and an error at twice as many
def test_a_decompression_bomb(tmp_path, monkeypatch, most: int) -> None:
    path = save(tmp_path, MASK)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', most)
    for read in (image_size, lambda path: mask_values(path, 'cv2')):
        with pytest.raises(UnreadableError, match=r'is too large \(.*35 pixels.*[^.]\); cut it into tiles'):
            read(path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 35)
    assert image_size(path)[0] == (7, 5)


def palette_of(mask: np.ndarray) -> Image.Image:
    picture = Image.fromarray(mask)
    picture.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
    return picture


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
@pytest.mark.parametrize(
    'pixels, name',
    [(MASK, 'a.png'), (MASK, 'a.bmp'), (MASK, 'a.tif'), (MASK.astype(np.uint16) * 999, 'a.png'), (MASK + 0.5, 'a.tif')],
    ids=['png', 'bmp', 'tif', '16 bits', 'float'],
)
def test_a_mask_has_the_values_that_were_written(tmp_path, pixels, name: str, backend: str) -> None:
    pixels = pixels.astype(np.float32) if pixels.dtype == np.float64 else pixels
    np.testing.assert_array_equal(mask_values(save(tmp_path, pixels, name), backend), pixels)


def test_a_palette_has_its_indices_with_pillow_alone(tmp_path) -> None:
    path = save(tmp_path, palette_of(MASK))
    np.testing.assert_array_equal(mask_values(path, 'pillow'), MASK)
    with pytest.raises(UnreadableError, match='has mode P; expected one channel'):
        mask_values(path, 'cv2')


@pytest.mark.parametrize(
    'pixels, name, words',
    [
        (MASK, 'a.jpg', 'is a JPEG, whose compression blurs class numbers; save masks losslessly, as PNG'),
        (MASK, 'a.jp2', 'is a JPEG2000, whose'),
        (COLOUR, 'a.png', 'has mode RGB; expected one channel of class numbers'),
        (Image.new('RGBA', (7, 5)), 'a.png', 'has mode RGBA; expected one channel'),
        (Image.new('LA', (7, 5)), 'a.png', 'has mode LA; expected one channel'),
    ],
)
def test_masks_without_class_numbers(tmp_path, pixels, name: str, words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        mask_values(save(tmp_path, pixels, name), 'pillow')


def test_a_decoder_that_raises_what_nobody_expects(tmp_path, monkeypatch) -> None:
    def fails(*args, **kwargs):
        raise struct.error('unpack requires\na buffer')

    monkeypatch.setattr(mmcv, 'imfrombytes', fails)
    with pytest.raises(UnreadableError, match=r'cannot be read \(error: unpack requires a buffer\)'):
        mask_values(save(tmp_path, MASK), 'pillow')


@pytest.mark.parametrize(
    'mask, values',
    [
        (np.array([[3, 1], [1, 0]], np.uint8), {0, 1, 3}),
        (np.array([[True, False]]), {0, 1}),
        (np.array([[2.0, 0.5, 2.0]], np.float32), {2, 0.5}),
    ],
)
def test_values(mask, values) -> None:
    found = values_of(mask)
    assert found == values and all(type(value) is int for value in found if value != 0.5)


def test_values_that_are_no_numbers() -> None:
    found = values_of(np.array([[np.nan, 1, np.inf, np.nan]]))
    assert len(found) == 3 and {1, np.inf} < found


def test_is_a_file(tmp_path) -> None:
    path = save(tmp_path, MASK)
    (tmp_path / 'round').symlink_to(tmp_path / 'round')
    for name, expected in ((path.name, True), ('b.png', False), ('.', False), ('round', False), ('x' * 5000, False)):
        assert is_file(tmp_path / name) is expected
    assert is_file(tmp_path / 'nu\0ll') is False and is_file(path / 'below') is False
