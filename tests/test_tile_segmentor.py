"""Segmentation in tiles: that of the whole picture where tiles see enough, never in memory whole."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.models import SegDataPreProcessor
from models import photograph
from segmentors import segmentor

from convnext_dense.errors import InputError
from convnext_dense.predict import tile_segmentor
from convnext_dense.predict.tile_segmentor import TileMap, classes_by_rows, logits_of, upsampled_rows
from convnext_dense.predict.tiles import Tiling
from convnext_dense.predict.windows import InMemory

BGR = photograph(150, 203)


def local(windows, size):
    """A head of stride 4 that sees the 4x4 pixels of each place alone: tiles cannot change it."""
    found = []
    for window in windows:
        x = torch.from_numpy(window.copy()).permute(2, 0, 1).float()
        x = F.pad(x, (0, size[1] - window.shape[1], 0, size[0] - window.shape[0]))
        found.append(F.avg_pool2d(x[None], 4))
    return torch.cat([torch.cat([x, 200 - x.sum(1, keepdim=True) / 2], 1) for x in found])


def whole(bgr) -> np.ndarray:
    size = tuple(-(-side // 32) * 32 for side in bgr.shape[:2])
    logits = F.interpolate(local([bgr], size), size, mode='bilinear', align_corners=False)
    return logits[0].argmax(0)[: bgr.shape[0], : bgr.shape[1]].numpy()


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('side, overlap', [(64, 0.0), (64, 0.5), (96, 0.25), (96, 0.9), (512, 0.25)])
def test_tiles_of_a_local_model_are_the_whole_picture(side: int, overlap: float, batch: int, monkeypatch) -> None:
    monkeypatch.setattr(tile_segmentor, 'VALUES', 5000)
    source = TileMap(local, InMemory(BGR), Tiling(side, overlap), batch)
    rows = list(classes_by_rows(source, BGR.shape[:2]))
    assert len(rows) > 20 and rows[0].dtype == np.uint8
    found, expected = np.concatenate(rows), whole(BGR)
    assert found.shape == expected.shape and (found != expected).mean() < 1e-4 and len(np.unique(found)) > 2


def test_logits_are_those_of_interpolate() -> None:
    source = TileMap(local, InMemory(BGR), Tiling(512))
    expected = F.interpolate(local([BGR], (160, 224)), (160, 224), mode='bilinear', align_corners=False)
    for start, stop in ((0, 3), (3, 77), (77, 160)):
        assert torch.allclose(upsampled_rows(source, start, stop), expected[0, :, start:stop].transpose(0, 1), atol=1e-3)


def test_a_picture_of_one_tile_is_that_of_the_model() -> None:
    """Beside the model's own whole prediction, which pads nothing: sides on the grid."""
    model = segmentor(True, mode='whole', keep_logits=False)
    model.data_preprocessor = SegDataPreProcessor(mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True)
    bgr = photograph(64, 96)
    image = torch.from_numpy(np.ascontiguousarray(bgr)).permute(2, 0, 1)
    with torch.no_grad():
        found = np.concatenate(list(classes_by_rows(TileMap(logits_of(model), InMemory(bgr), Tiling(96)), (64, 96))))
        inputs = model.data_preprocessor(dict(inputs=[image]), False)['inputs']
        expected = model.encode_decode(inputs, [dict(img_shape=(64, 96), ori_shape=(64, 96))])[0].argmax(0)
    assert (found != expected.numpy()).mean() < 1e-3


def test_memory_goes_by_a_row_of_tiles(monkeypatch) -> None:
    monkeypatch.setattr(tile_segmentor, 'VALUES', 5000)
    tall = InMemory(np.zeros((3200, 64, 3), np.uint8))
    source = TileMap(local, tall, Tiling(64))
    held = []
    for _ in classes_by_rows(source, tall.size):
        held.append(len(source.kept))
    assert max(held) <= 64 // 4 * 3 and source.size == (800, 16)


def test_borders_are_blended() -> None:
    """A model that says 0 or 1 by the tile: between two tiles the logits go from one to the other."""
    calls = iter([0.0, 1.0])

    def by_tile(windows, size):
        return torch.full((len(windows), 1, size[0] // 4, size[1] // 4), next(calls))

    source = TileMap(by_tile, InMemory(np.zeros((64, 96, 3), np.uint8)), Tiling(64, 0.5))
    row = source.rows(0, 16)[0, :, 0]
    assert source.lefts == [0, 32] and torch.equal(row[:8], torch.zeros(8)) and torch.equal(row[16:], torch.ones(8))
    assert torch.allclose(row[8:16], (torch.arange(8) + 0.5) / 8)


def test_models_that_cannot_be_tiled() -> None:
    with pytest.raises(InputError, match='--tile: expected a segmentor of type EncoderDecoder, got Linear'):
        logits_of(torch.nn.Linear(1, 1))

    def odd(windows, size):
        return torch.zeros(1, 3, 7, 7)

    with pytest.raises(InputError, match='whole stride'):
        TileMap(odd, InMemory(BGR), Tiling(64))
