"""A picture is resized, ordered and normalised as by the pipeline and the preprocessor; what cannot be is refused."""

from typing import Any

import mmcv
import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.model import BaseDataPreprocessor
from mmseg.models.data_preprocessor import SegDataPreProcessor

from convnext_dense import InputError
from convnext_dense.export.picture_input import PictureInput, Resize, normalisation, pipeline_resize

STATISTICS = dict(mean=[123.0, 116.0, 103.0], std=[58.0, 57.0, 56.0])


@pytest.mark.parametrize('keep_ratio', [True, False])
def test_bytes_are_those_of_cv2(keep_ratio: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        height, width, *scale = (int(side) for side in rng.integers(20, 500, 4))
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        want = mmcv.imrescale(picture, tuple(scale)) if keep_ratio else mmcv.imresize(picture, tuple(scale))
        got = Resize(tuple(scale), keep_ratio)(torch.from_numpy(picture)[None])[0].numpy()
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize('size', [(200, 100), (50, 75), (33, 240)])
def test_half_and_own_size(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for scale in (size[::-1], (size[1] // 2, size[0] // 2)):
        got = Resize(scale, False)(torch.from_numpy(picture)[None])[0].numpy()
        np.testing.assert_array_equal(got, mmcv.imresize(picture, scale))


def test_sizes_of_symbols_are_those_of_numbers() -> None:
    """In a traced graph the size is computed in tensors."""
    picture = torch.randint(0, 256, (2, 90, 120, 3), dtype=torch.uint8)
    resize = Resize((200, 130), True)
    traced = torch.jit.trace(resize, picture)
    for height, width in ((90, 120), (120, 90), (131, 77), (64, 300), (500, 499)):
        other = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)
        assert torch.equal(traced(other), resize(other))


@pytest.mark.parametrize('make', [SegDataPreProcessor, DetDataPreprocessor])
@pytest.mark.parametrize('swap', [True, False])
def test_normalised_as_by_the_preprocessor(make: Any, swap: bool) -> None:
    sizes = dict(size=(8, 8)) if make is SegDataPreProcessor else {}
    preprocessor = make(**STATISTICS, bgr_to_rgb=swap, **sizes)
    rgb = torch.randint(0, 256, (1, 9, 11, 3), dtype=torch.uint8)
    inputs = preprocessor(dict(inputs=[rgb[0].flip(-1).permute(2, 0, 1)]))['inputs']
    want = torch.stack(inputs) if isinstance(inputs, list) else inputs
    torch.testing.assert_close(PictureInput(preprocessor)(rgb).x, want)
    colour, mean, std = normalisation(preprocessor)
    assert (colour, mean, std) == ('RGB' if swap else 'BGR', STATISTICS['mean'], STATISTICS['std'])


def test_without_statistics_and_raw() -> None:
    assert normalisation(DetDataPreprocessor(bgr_to_rgb=True)) == ('RGB', [0.0] * 3, [1.0] * 3)
    given = PictureInput(DetDataPreprocessor(**STATISTICS), dict(scale=[20, 20], keep_ratio=True), raw=True)
    x = torch.rand(1, 3, 40, 50)
    assert given(x).x is x and given(x).own == (40, 50)


class Other(SegDataPreProcessor):
    """Of other pictures."""


@pytest.mark.parametrize(
    ('preprocessor', 'words'),
    [
        (BaseDataPreprocessor(), 'expected SegDataPreProcessor or DetDataPreprocessor, .* got BaseDataPreprocessor'),
        (Other(size=(8, 8)), 'got Other'),
        (
            SegDataPreProcessor(size=(8, 8), test_cfg=dict(size_divisor=32)),
            r"got data_preprocessor.test_cfg=\{'size_divisor': 32\}, which pads them; leave it out",
        ),
    ],
)
def test_other_preprocessors(preprocessor: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        PictureInput(preprocessor)


LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackSegInputs')


def test_the_resize_of_a_pipeline() -> None:
    resize = dict(type='Resize', scale=(2048, 512), keep_ratio=True)
    annotations = dict(type='LoadAnnotations')
    assert pipeline_resize([LOAD, annotations, PACK]) is None
    assert pipeline_resize([LOAD, resize, annotations, PACK]) == dict(scale=[2048, 512], keep_ratio=True)
    assert pipeline_resize([LOAD, dict(type='mmdet.Resize', scale=64), PACK]) == dict(scale=[64, 64], keep_ratio=False)


@pytest.mark.parametrize(
    'steps',
    [
        [dict(type='Resize', scale_factor=0.5)],
        [dict(type='Resize', scale=(8, 8), interpolation='nearest')],
        [dict(type='Resize', scale=(8, 8), backend='pillow')],
        [dict(type='Resize', scale=(8, 8)), dict(type='Pad', size_divisor=32)],
        [dict(type='CenterCrop', crop_size=8)],
        [dict(type='Normalize')],
    ],
)
def test_other_steps(steps: list[dict]) -> None:
    with pytest.raises(InputError, match='expected a pipeline with one bilinear Resize by its scale, got .*--raw'):
        pipeline_resize([LOAD, *steps, PACK])


@pytest.mark.parametrize('pipeline', [None, [], [dict(type='LoadChannels', channels=12), PACK]])
def test_other_loading(pipeline: Any) -> None:
    with pytest.raises(InputError, match='begins with LoadImageFromFile, got .*--raw'):
        pipeline_resize(pipeline)


@pytest.mark.parametrize('option', [dict(color_type='grayscale'), dict(to_float32=True), dict(imdecode_backend='pillow')])
def test_pictures_loaded_in_another_way(option: dict) -> None:
    with pytest.raises(InputError, match='expected pictures that are loaded in colour and bytes, got .*--raw'):
        pipeline_resize([{**LOAD, **option}, PACK])
    assert pipeline_resize([dict(LOAD, to_float32=False, backend_args=None), PACK]) is None


def test_one_value_for_all_channels_and_endless_scales() -> None:
    assert normalisation(DetDataPreprocessor(mean=[5.0], std=[2.0]))[1:] == ([5.0] * 3, [2.0] * 3)
    with pytest.raises(InputError, match='one bilinear Resize'):
        pipeline_resize([LOAD, dict(type='Resize', scale=(float('inf'), 64), keep_ratio=True), PACK])
