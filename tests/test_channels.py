"""Pictures of any channels are read with their own values, or not at all with a line; a config is settled for them."""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile
from channel_sets import picture, write_tiff
from conftest import SHAPES, SHAPES_COCO
from mmengine.config import Config
from PIL import Image, ImageOps

from convnext_dense.data.channels import channels_of, channels_size, checked, header_size, read_channels, size_reader
from convnext_dense.data.pictures import UnreadableError, image_size
from convnext_dense.errors import InputError
from convnext_dense.run.channels import settle_channels
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta

BANDS = picture(12)
PLANES = BANDS.transpose(2, 0, 1)
GREY = dict(photometric='minisblack')
TIFFS = dict(
    chunky=(BANDS, dict(planarconfig='contig', **GREY)),
    planar=(PLANES, dict(planarconfig='separate', **GREY)),
    tiled=(BANDS, dict(planarconfig='contig', tile=(16, 16), compression='zlib', predictor=True, **GREY)),
    page_a_band=(PLANES, GREY),
    page_a_band_unnamed=(PLANES, dict(metadata=None, **GREY)),
    page_a_row=(BANDS, {}),  # what tifffile makes of (H, W, N) where nothing says what it is
    imagej=(PLANES, dict(imagej=True, metadata=dict(axes='CYX'))),
)


@pytest.mark.parametrize('name', TIFFS)
def test_tiffs_of_every_order(name: str, tmp_path: Path) -> None:
    values, options = TIFFS[name]
    tifffile.imwrite(tmp_path / 'x.tif', values, **options)
    found = read_channels(tmp_path / 'x.tif', 12)
    assert found.dtype == np.uint16 and np.array_equal(found, BANDS)
    assert header_size(tmp_path / 'x.tif', 12) == (30, 20)


def test_overviews_are_no_bands(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / 'x.tif') as file:
        for values, kind in ((BANDS, 0), (BANDS[::2, ::2], 1)):
            file.write(values, subfiletype=kind, planarconfig='contig', metadata=None, **GREY)
    assert np.array_equal(read_channels(tmp_path / 'x.tif', 12), BANDS)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize('channels', [1, 4])
def test_numbers_of_every_type(dtype: type, channels: int, tmp_path: Path) -> None:
    values = picture(channels, dtype)
    write_tiff(tmp_path / 'x.tif', values)
    np.save(tmp_path / 'x.npy', values)
    for name in ('x.tif', 'x.npy'):
        found = read_channels(tmp_path / name, channels)
        assert found.dtype == dtype and np.array_equal(found, values)


def test_arrays_of_every_order(tmp_path: Path) -> None:
    for values in (BANDS, PLANES):
        np.save(tmp_path / 'x.npy', values)
        assert np.array_equal(read_channels(tmp_path / 'x.npy', 12), BANDS)
        assert header_size(tmp_path / 'x.npy', 12) == (30, 20)
    np.save(tmp_path / 'x.npy', BANDS[..., 0] > 0)
    assert read_channels(tmp_path / 'x.npy', 1).dtype == np.uint8
    both = picture(4, height=4, width=6)  # the first and the last are as many: channels are last
    np.save(tmp_path / 'x.npy', both)
    assert np.array_equal(read_channels(tmp_path / 'x.npy', 4), both)


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_png_and_a_compression_that_opencv_knows(channels: int, dtype: type, tmp_path: Path) -> None:
    values = picture(channels, dtype)
    blue_first = values[..., [2, 1, 0, 3][:channels]] if channels > 1 else values[..., 0]
    for name, options in (('x.png', []), ('x.tif', [cv2.IMWRITE_TIFF_COMPRESSION, 5])):  # 5: LZW
        assert cv2.imwrite(str(tmp_path / name), blue_first, options)
        found = read_channels(tmp_path / name, channels)
        assert found.dtype == dtype and np.array_equal(found, values)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_pictures_lie_upright(orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(picture(3, np.uint8))
    image.getexif()[274] = orientation
    image.save(tmp_path / 'x.png', exif=image.getexif())
    for compression in (None, 'tiff_lzw'):
        image.save(tmp_path / f'{compression}.tif', compression=compression, tiffinfo={274: orientation})
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / 'x.png')))
    for name in ('x.png', 'None.tif', 'tiff_lzw.tif'):
        assert np.array_equal(read_channels(tmp_path / name, 3), upright)
    assert header_size(tmp_path / 'None.tif', 3) == upright.shape[1::-1]


WRONG = [
    (lambda p: tifffile.imwrite(p / 'x.tif', BANDS[..., :3], photometric='rgb'), 'x.tif', '3-channel data with --channels 4'),
    (lambda p: np.save(p / 'x.npy', np.full((5, 6, 4), np.nan)), 'x.npy', 'NaN, infinity or more .* in 120 values'),
    (lambda p: np.save(p / 'x.npy', np.full((5, 6, 4), 1e300)), 'x.npy', 'more than float32 holds'),
    (lambda p: np.save(p / 'x.npy', np.ones((5, 6, 4), complex)), 'x.npy', 'type complex128; expected whole or real'),
    (lambda p: np.save(p / 'x.npy', np.ones((2, 5, 6, 4))), 'x.npy', 'has shape .2, 5, 6, 4.; expected height'),
    (lambda p: np.save(p / 'x.npy', np.array(['a', None], object)), 'x.npy', 'cannot be read'),
    (lambda p: np.savez(p / 'y.npz', BANDS) or (p / 'y.npz').rename(p / 'x.npy'), 'x.npy', 'an archive of arrays'),
    (lambda p: (p / 'x.tif').write_bytes(b'II*\0abcdefgh'), 'x.tif', 'cannot be read as a TIFF'),
    (lambda p: (p / 'x.png').write_bytes(b'no picture'), 'x.png', 'cannot be read'),
    (lambda p: (p / 'x.tif').mkdir(), 'x.tif', 'is a folder'),
    (lambda p: Image.new('P', (5, 6)).save(p / 'x.tif'), 'x.tif', 'with a palette'),
    (lambda p: None, 'x.tif', 'No such file'),
]


@pytest.mark.parametrize(('write', 'name', 'line'), WRONG)
def test_what_cannot_be_used(write, name: str, line: str, tmp_path: Path, capfd) -> None:
    write(tmp_path)
    with pytest.raises(UnreadableError, match=line) as raised:
        read_channels(tmp_path / name, 4)
    assert '\n' not in str(raised.value) and not capfd.readouterr().err


def test_headers_that_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / 'x.npy', np.ones((2, 5, 6, 4)))
    (tmp_path / 'y.npy').write_bytes(b'no array')
    (tmp_path / 'z.tif').write_bytes(b'II*\0abcdefgh')
    for name, line in (('x.npy', 'has shape'), ('y.npy', 'cannot be read'), ('z.tif', 'cannot be read as a TIFF')):
        with pytest.raises(UnreadableError, match=line):
            header_size(tmp_path / name)


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    write_tiff(tmp_path / 'x.tif', BANDS)
    whole = (tmp_path / 'x.tif').read_bytes()
    (tmp_path / 'x.tif').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableError, match='cannot be read as a TIFF'):
        read_channels(tmp_path / 'x.tif', 12)


def test_without_tifffile(tmp_path: Path, monkeypatch) -> None:
    write_tiff(tmp_path / 'x.tif', BANDS)
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    with pytest.raises(InputError, match='expected tifffile, which is not installed .* pip install tifffile'):
        read_channels(tmp_path / 'x.tif', 12)
    with pytest.raises(UnreadableError, match='pip install tifffile'):
        channels_size(tmp_path / 'x.tif', 12)


def test_a_compression_that_rasterio_knows(tmp_path: Path, monkeypatch) -> None:
    """It is not installed for the tests: a stand-in gives bands first, as it does."""
    (tmp_path / 'x.tif').write_bytes(b'II*\0 of a compression that tifffile does not know')
    stand_in = SimpleNamespace(open=lambda path: nullcontext(SimpleNamespace(read=lambda: PLANES)))
    monkeypatch.setitem(sys.modules, 'rasterio', stand_in)
    assert np.array_equal(read_channels(tmp_path / 'x.tif', 12), BANDS)


def test_one_channel_gets_its_dimension() -> None:
    assert checked(np.zeros((5, 6), np.uint8), 1).shape == (5, 6, 1)


def test_sizes_are_read_as_the_pipeline_loads(tmp_path: Path) -> None:
    write_tiff(tmp_path / 'x.tif', BANDS)
    pipeline = [dict(type='mmengine.LoadChannels', channels=12), dict(type='Resize', scale=(3, 4))]
    assert channels_of(pipeline) == 12 and size_reader(pipeline)(tmp_path / 'x.tif') == ((30, 20), 1)
    assert channels_of([dict(type='LoadImageFromFile')]) is None and size_reader(None) is image_size
    with pytest.raises(UnreadableError):
        size_reader([dict(type='LoadChannels', channels=3)])(tmp_path / 'x.tif')


@pytest.mark.parametrize('channels', [1, 3, 4, 12])
@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO, 'configs/upernet_convnext_t_ade20k.py'])
def test_a_config_is_settled(config: str, channels: int) -> None:
    cfg = load_config(config)
    mean, std = [float(i) for i in range(channels)], [1.0 + i for i in range(channels)]
    line = settle_channels(cfg, channels, mean, std)
    assert line.startswith(f'channels: {channels}, ') and ('ChannelJitter' in line) == ('ade20k' in config)
    text = str(cfg._cfg_dict)
    assert 'LoadImageFromFile' not in text and 'PhotoMetricDistortion' not in text
    loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
    pipelines = [loader.dataset.pipeline for loader in loaders] + ([cfg.tta_pipeline] if 'tta_pipeline' in cfg else [])
    assert all(pipeline[0] == dict(type='LoadChannels', channels=channels) for pipeline in pipelines)
    model = build_on_meta(cfg)
    assert model.backbone.downsample_layers[0][0].in_channels == channels
    assert len(model.data_preprocessor.mean) == channels and cfg.model.data_preprocessor.bgr_to_rgb is False
    before = cfg._cfg_dict.to_dict()
    settle_channels(cfg, channels, mean, std)
    assert cfg._cfg_dict.to_dict() == before


def test_channels_that_are_the_same_everywhere() -> None:
    cfg = load_config(SHAPES)
    assert 'the same value everywhere in channel 2' in settle_channels(cfg, 2, [0.0, 5.0], [3.0, 0.0])
    assert cfg.model.data_preprocessor.std == [3.0, 1.0]


def test_imports_of_a_config_stay() -> None:
    cfg = load_config(SHAPES)
    cfg.custom_imports = dict(imports='convnext_dense.segmentation', allow_failed_imports=False)
    settle_channels(cfg, 1, [0.0], [1.0])
    imports = ['convnext_dense.segmentation', 'convnext_dense.data.channel_steps']
    assert cfg.custom_imports == dict(imports=imports, allow_failed_imports=False)


def _without(key: str):
    return lambda cfg: cfg.model.pop(key)


@pytest.mark.parametrize(
    ('change', 'given', 'line'),
    [
        (lambda cfg: None, (0, [], []), 'channels: expected a whole number from 1 to 512, got 0'),
        (lambda cfg: None, (513, [], []), 'channels: expected .* got 513'),
        (lambda cfg: None, (2, [1.0], [1.0, 1.0]), 'mean: expected 2 finite numbers'),
        (lambda cfg: None, (2, [1.0, float('nan')], [1.0, 1.0]), 'mean: expected 2 finite numbers'),
        (lambda cfg: None, (1, [1.0], [-1.0]), 'std: expected 1 finite numbers'),
        (lambda cfg: cfg.train_dataloader.dataset.pipeline.append(dict(type='CLAHE')), (1, [0.0], [1.0]), 'got CLAHE'),
        (_without('backbone'), (1, [0.0], [1.0]), 'expected a backbone of type ConvNeXt'),
        (_without('data_preprocessor'), (1, [0.0], [1.0]), 'expected a data_preprocessor'),
    ],
)
def test_what_cannot_be_settled(change, given: tuple, line: str) -> None:
    cfg: Config = load_config(SHAPES)
    change(cfg)
    with pytest.raises(InputError, match=line):
        settle_channels(cfg, *given)


def test_a_config_that_loads_no_pictures() -> None:
    with pytest.raises(InputError, match='expected pipelines that begin with LoadImageFromFile'):
        settle_channels(Config(dict(model=dict(backbone=dict(type='ConvNeXt')))), 1, [0.0], [1.0])
