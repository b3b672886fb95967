"""Loading and jitter of any channels; the recipes' pipelines with 1, 4 and 12 of them."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
from channel_sets import picture, write_tiff
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS, DefaultScope

from convnext_dense.data.channel_steps import ChannelJitter, LoadChannels
from convnext_dense.errors import InputError
from convnext_dense.run.channels import settle_channels
from convnext_dense.run.options import load_config

CHANNELS = [1, 4, 12]


def test_loading(tmp_path: Path) -> None:
    write_tiff(tmp_path / 'x.tif', picture(12))
    found = LoadChannels(channels=12)(dict(img_path=str(tmp_path / 'x.tif'), kept=1))
    assert found['img'].dtype == np.float32 and np.array_equal(found['img'], picture(12))
    assert found['img_shape'] == found['ori_shape'] == (20, 30) and found['kept'] == 1
    with pytest.raises(InputError, match='x.tif is 12-channel data with --channels 4'):
        LoadChannels(channels=4)(dict(img_path=str(tmp_path / 'x.tif')))
    with pytest.raises(InputError, match='channels: expected a whole number from 1 to 512, got 1.5'):
        LoadChannels(channels=1.5)


@pytest.mark.parametrize('scope', ['mmseg', 'mmdet', 'mmengine'])
def test_every_scope_finds_the_steps(scope: str) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        assert isinstance(TRANSFORMS.build(dict(type='LoadChannels', channels=5)), LoadChannels)


def sample(folder: Path, channels: int) -> dict:
    """A picture, its mask and one object, as mmseg's and mmdet's data sets hand them to a pipeline."""
    write_tiff(folder / 'x.tif', picture(channels, height=90, width=120))
    cv2.imwrite(str(folder / 'x.png'), np.repeat(np.arange(90, dtype=np.uint8)[:, None] // 30, 120, axis=1))
    polygon = [[10.0, 10.0, 60.0, 10.0, 60.0, 70.0, 10.0, 70.0]]
    return dict(
        img_path=str(folder / 'x.tif'),
        img_id=1,
        seg_map_path=str(folder / 'x.png'),
        seg_fields=[],
        label_map=None,
        reduce_zero_label=False,
        instances=[dict(bbox=[10.0, 10.0, 60.0, 70.0], bbox_label=0, mask=polygon, ignore_flag=0)],
    )


@pytest.mark.parametrize('channels', CHANNELS)
@pytest.mark.parametrize('config', ['upernet_convnext_t_ade20k', 'mask_rcnn_convnext_t_coco'])
def test_the_recipes_pipelines(config: str, channels: int, tmp_path: Path) -> None:
    cfg = load_config(config)
    settle_channels(cfg, channels, [0.0] * channels, [1.0] * channels)
    np.random.seed(0)
    loaders = (cfg.train_dataloader, cfg.val_dataloader)
    pipelines = [*(loader.dataset.pipeline for loader in loaders), *([cfg.tta_pipeline] if 'tta_pipeline' in cfg else [])]
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        for pipeline, times in zip(pipelines, (6, 1, 1)):  # both branches of training's choice
            steps = Compose(copy.deepcopy(pipeline))
            for _ in range(times):
                found = steps(sample(tmp_path, channels))['inputs']
                views = found if isinstance(found, list) else [found]
                assert all(view.shape[0] == channels and view.is_floating_point() for view in views)


@pytest.mark.parametrize('channels', CHANNELS)
def test_a_resized_channel_is_that_channel_resized(channels: int, tmp_path: Path) -> None:
    given = sample(tmp_path, channels)
    with DefaultScope.overwrite_default_scope('mmseg'):
        steps = Compose([dict(type='LoadChannels', channels=channels), dict(type='Resize', scale=(77, 55))])
        found = steps(given)['img'].reshape(55, 77, channels)
    values = picture(channels, height=90, width=120).astype(np.float32)
    for index in range(channels):
        alone = cv2.resize(np.ascontiguousarray(values[..., index]), (77, 55), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(found[..., index], alone, rtol=0, atol=1)  # of 65535


def jittered(seed: int, image: np.ndarray, **options) -> np.ndarray:
    np.random.seed(seed)
    channels = image.shape[2] if image.ndim == 3 else 1
    mean, std = [10.0 * (i + 1) for i in range(channels)], [1.0 + i for i in range(channels)]
    return ChannelJitter(mean, std, **options)(dict(img=image))['img']


def test_jitter_is_a_shift_in_deviations_and_a_factor_about_the_mean() -> None:
    image = picture(4, np.float32)
    mean, std = np.array([10.0, 20, 30, 40]), np.array([1.0, 2, 3, 4])
    shifted = scaled = 0
    for seed in range(40):
        found = (jittered(seed, image) - mean) / std
        before = (image - mean) / std
        (factor, shift), *_ = np.linalg.lstsq(np.stack([before.ravel(), np.ones(before.size)], 1), found.ravel(), rcond=None)
        np.testing.assert_allclose(found, before * factor + shift, atol=1e-4)  # one factor and one shift for all channels
        assert 0.5 <= factor < 1.5 and abs(shift / factor) <= 0.5 + 1e-5
        shifted, scaled = shifted + (abs(shift) > 1e-4), scaled + (abs(factor - 1) > 1e-4)
    assert 10 < shifted < 30 and 10 < scaled < 30  # each with a probability of a half


def test_jitter_is_reproducible_and_takes_a_channel_without_its_dimension() -> None:
    image = picture(1, np.float32)
    for seed in range(6):
        one, flat = jittered(seed, image), jittered(seed, image[..., 0])
        assert flat.shape == (20, 30) and one.dtype == flat.dtype == np.float32
        assert np.array_equal(one[..., 0], flat) and np.array_equal(one, jittered(seed, image))
    assert np.array_equal(jittered(1, image, brightness=0.0, contrast=(1.0, 1.0)), image) or np.allclose(
        jittered(1, image, brightness=0.0, contrast=(1.0, 1.0)), image, atol=1e-5
    )


@pytest.mark.parametrize(
    'options', [dict(mean=3.0, std=[1.0]), dict(mean=[1.0], std=[1.0, 2.0]), dict(mean=[1.0], std=[1.0], contrast=(0.5,))]
)
def test_jitter_of_what_cannot_be(options) -> None:
    with pytest.raises(InputError, match='expected . finite numbers'):
        ChannelJitter(**options)
