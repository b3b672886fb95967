"""A detector's pictures are normalised by a mean and a deviation of each channel, and padded as before."""

import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS, DefaultScope

import convnext_dense.detection
from convnext_dense.detection.channels_preprocessor import ChannelsDetDataPreprocessor


def batch(channels: int) -> dict:
    sizes = [(40, 50), (33, 64)]
    inputs = [torch.randn(channels, *size, generator=torch.Generator().manual_seed(0)) * 9 + 5 for size in sizes]
    return dict(inputs=inputs, data_samples=[DetDataSample(metainfo=dict(img_shape=size)) for size in sizes])


def test_three_channels_are_as_mmdet_has_them() -> None:
    options = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], pad_size_divisor=32, pad_mask=True)
    ours, theirs = (cls(**options)(batch(3)) for cls in (ChannelsDetDataPreprocessor, DetDataPreprocessor))
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert [s.metainfo for s in ours['data_samples']] == [s.metainfo for s in theirs['data_samples']]


@pytest.mark.parametrize('channels', [2, 4, 12])
def test_any_channels(channels: int) -> None:
    mean, std = [float(i) for i in range(channels)], [1.0 + i for i in range(channels)]
    spec = dict(type='ChannelsDetDataPreprocessor', mean=mean, std=std, pad_size_divisor=32)
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = MODELS.build(spec)(batch(channels))
    assert found['inputs'].shape == (2, channels, 64, 64)
    for index in range(channels):
        expected = (batch(channels)['inputs'][0][index] - mean[index]) / std[index]
        torch.testing.assert_close(found['inputs'][0, index, :40, :50], expected)
    assert not found['inputs'][0, :, 40:].any()  # padded by the mean
    assert found['data_samples'][0].pad_shape == (64, 64)
    assert 'ChannelsDetDataPreprocessor' in convnext_dense.detection.__all__
