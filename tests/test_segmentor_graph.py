"""The graph of a segmentor gives what the segmentor gives, in eager PyTorch; other models are refused."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from export_models import by_torch, exportable, pictures
from torch import nn

from convnext_dense import InputError
from convnext_dense.export import segmentor_graph
from convnext_dense.export.filtered_conv_graph import conv3x3
from convnext_dense.export.segmentor_graph import FusedUPerHead, SegmentorGraph


@pytest.mark.parametrize('lean', [True, False])
@pytest.mark.parametrize('way', ['plain', 'fused', 'filtered'])
@pytest.mark.parametrize('size', [(96, 128), (101, 67), (33, 240)])
def test_it_gives_what_the_model_gives(lean: bool, way: str, size: tuple[int, int], monkeypatch) -> None:
    if way == 'filtered':
        monkeypatch.setattr(segmentor_graph, 'LEAST_CHANNELS', 16)
    convolved = Mock(side_effect=conv3x3)
    monkeypatch.setattr(segmentor_graph, 'conv3x3', convolved)
    model = exportable(lean)
    graph = SegmentorGraph(model, way != 'plain').eval()
    assert isinstance(graph.head, FusedUPerHead) is (way != 'plain')
    image = pictures(2, *size)
    classes, logits = by_torch(model, image)
    with torch.no_grad():
        got, values = graph(torch.from_numpy(image))
    assert np.abs(values.numpy() - logits).max() < 1e-5 * np.abs(logits).max()
    assert convolved.call_count == (3 if way == 'filtered' else 0)  # two levels and the fusion
    assert got.dtype == torch.uint8 and (got.numpy() == classes).mean() > 0.9999 and len(np.unique(classes)) > 2


def test_channel_orders() -> None:
    """A model that was trained on BGR is given the same picture."""
    model = exportable(True, bgr_to_rgb=False)
    image = pictures(1, 64, 96)
    with torch.no_grad():
        np.testing.assert_allclose(SegmentorGraph(model)(torch.from_numpy(image))[1], by_torch(model, image)[1], atol=1e-3)
    assert not np.allclose(by_torch(model, image)[1], by_torch(exportable(True), image)[1], atol=1e-2)


def test_one_channel_of_logits() -> None:
    model = exportable(True)
    head = model.decode_head
    head.conv_seg, head.out_channels, head.threshold = nn.Conv2d(16, 1, 1), 1, 0.4
    model.out_channels = 1
    image = pictures(1, 64, 96)
    with torch.no_grad():
        got, logits = SegmentorGraph(model)(torch.from_numpy(image))
    assert logits.shape[1] == 1 and 0 < got.float().mean() < 1
    assert (got.numpy() == by_torch(model, image)[0]).all()


def test_the_model_is_left_as_it_is() -> None:
    model = exportable(True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        SegmentorGraph(model)(torch.from_numpy(pictures(1, 64, 96)))
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_it_does_not_take() -> None:
    with pytest.raises(InputError, match='expected an EncoderDecoder of MMSegmentation, got Linear'):
        SegmentorGraph(nn.Linear(1, 1))
