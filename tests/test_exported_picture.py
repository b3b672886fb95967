"""Pictures and answers as mmcv, MMSegmentation and MMDetection make them, without these libraries."""

import json
from typing import Any

import mmcv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exported_files import MEAN, STD, description
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from models import photograph

from convnext_dense.errors import InputError
from convnext_dense.predict.exported_about import Resize, parsed
from convnext_dense.predict.exported_picture import class_map, classes_of, enlarging, given_to, objects, pasted, resized

RANDOM = np.random.default_rng(0)


def about(task: str = 'segmentation', **changes: Any) -> Any:
    return parsed(json.dumps(description(task, **changes)))


@pytest.mark.parametrize('size', [(61, 83), (480, 640), (100, 333), (7, 900)])
@pytest.mark.parametrize('scale', [(1333, 800), (100, 60), (192, 192)])
def test_resized_as_by_mmcv(size: tuple[int, int], scale: tuple[int, int]) -> None:
    image = photograph(*size)
    assert np.array_equal(resized(image, Resize(scale, True)), mmcv.imrescale(image, scale))
    assert np.array_equal(resized(image, Resize(scale, False)), mmcv.imresize(image, scale))
    assert resized(image, None) is image


def test_a_picture_as_a_file_takes_it() -> None:
    bgr = photograph(20, 30)
    assert np.array_equal(given_to(about(), bgr), bgr[..., ::-1])
    assert np.array_equal(given_to(about(input=dict(colour='BGR')), bgr), bgr)
    raw = given_to(about(raw=True), bgr)
    assert raw.shape == (3, 20, 30) and raw.dtype == np.float32 and raw.flags.c_contiguous
    x = torch.from_numpy(bgr[..., ::-1].transpose(2, 0, 1).copy()).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    assert np.array_equal(raw, ((x - mean) / std).numpy())
    assert given_to(about(raw=True, resize=dict(scale=[60, 60], keep_ratio=True)), bgr).shape == (3, 40, 60)


def test_a_picture_of_another_size() -> None:
    with pytest.raises(InputError, match=r'is 20x30 \(height x width\) where the model takes 64x96 alone; resize it, or'):
        given_to(about(input=dict(size=[64, 96])), photograph(20, 30))
    fixed = about(raw=True, resize=dict(scale=[60, 60], keep_ratio=True), input=dict(size=[40, 60]))
    assert given_to(fixed, photograph(20, 30)).shape == (3, 40, 60)
    with pytest.raises(InputError, match=r'is 60x60 after resizing \(height x width\) where the model takes 40x60 alone'):
        given_to(fixed, photograph(20, 20))


@pytest.mark.parametrize('corners', [False, True])
@pytest.mark.parametrize('start, end', [(7, 20), (20, 7), (1, 5), (5, 1), (6, 6)])
def test_an_axis_as_by_pytorch(start: int, end: int, corners: bool) -> None:
    x = RANDOM.standard_normal(start).astype(np.float32)
    theirs = F.interpolate(torch.from_numpy(x).view(1, 1, 1, -1), (1, end), mode='bilinear', align_corners=corners)
    np.testing.assert_allclose(enlarging(start, end, corners) @ x, theirs.flatten().numpy(), atol=1e-5)


@pytest.mark.parametrize('corners', [False, True])
@pytest.mark.parametrize('classes', [1, 5])
def test_classes_as_by_mmsegmentation(classes: int, corners: bool, monkeypatch) -> None:
    monkeypatch.setattr('convnext_dense.predict.exported_picture.VALUES', 1000)  # a few rows at a time
    logits = RANDOM.standard_normal((classes, 9, 13)).astype(np.float32)
    x = torch.from_numpy(logits)[None]
    for size in ((35, 50), (61, 87)):
        x = F.interpolate(x, size, mode='bilinear', align_corners=corners)
    theirs = (x[0, 0].sigmoid() > 0.3) if classes == 1 else x[0].argmax(0)
    ours = classes_of(logits, (35, 50), (61, 87), corners, 0.3)
    assert ours.shape == (61, 87) and (ours == theirs.numpy()).mean() > 0.9995


def test_classes_of_a_picture_that_kept_its_size_are_the_files() -> None:
    outputs = dict(classes=RANDOM.integers(0, 3, (2, 8, 9)), logits=np.zeros((2, 3, 2, 3), np.float32))
    assert np.array_equal(class_map(about(), outputs, 1, (8, 9), (8, 9)), outputs['classes'][1])
    assert not class_map(about(), outputs, 1, (8, 9), (16, 18)).any()


BOXES = [
    (3.2, 4.7, 30.9, 33.1),
    (0, 0, 50, 40),
    (10.5, 11.5, 12.5, 13.5),
    (44.3, 2, 50, 39.99),
    (20, 20, 20, 25),
    (49, 39, 50, 40),
]


@pytest.mark.parametrize('box', BOXES)
def test_masks_as_by_mmdet(box: tuple[float, ...]) -> None:
    mask = RANDOM.random((28, 28)).astype(np.float32)
    place = np.array(box, np.float32)
    found = pasted(mask, place, (40, 50), 0.5)
    part, (rows, columns) = _do_paste_mask(torch.from_numpy(mask)[None, None], torch.from_numpy(place)[None], 40, 50)
    theirs = np.zeros((40, 50), bool)
    theirs[rows, columns] = part[0].numpy() >= 0.5
    assert np.array_equal(found.on((40, 50)), theirs)
    assert found.mask.shape[0] <= box[3] - box[1] + 4 and found.mask.shape[1] <= box[2] - box[0] + 4


def detected(**changes: Any) -> dict[str, Any]:
    found = dict(
        boxes=np.array([[[2, 4, 10, 12], [1, 1, 5, 5], [0, 0, 0, 0]]], np.float32),
        scores=np.array([[0.9, 0.4, 0]], np.float32),
        labels=np.array([[2, 0, -1]]),
        masks=np.ones((1, 3, 28, 28), np.float32),
    )
    return found | changes


def test_objects_without_the_places_that_nothing_fills() -> None:
    found = objects(about('detection'), detected(), (20, 30), (20, 30))
    assert found.labels.tolist() == [2, 0] and found.patches is not None and len(found.patches) == 2
    assert np.argwhere(found.patches[0].on((20, 30))).min(0).tolist() == [4, 2] and found.patches[0].area == 64
    few = objects(about('detection', masks=None), detected(), (20, 30), (20, 30), lambda scores, labels: labels == 0)
    assert few.scores.tolist() == pytest.approx([0.4]) and few.patches is None


def test_objects_of_a_picture_that_was_resized() -> None:
    found = objects(about('detection'), detected(), (40, 90), (20, 30))
    np.testing.assert_allclose(found.boxes[0], [2 / 3, 2, 10 / 3, 6], rtol=1e-6)
    assert found.patches is not None and found.patches[0].on((20, 30)).shape == (20, 30)


def test_whole_masks() -> None:
    masks = np.zeros((1, 3, 20, 30), np.uint8)
    masks[0, 0, 4:9, 3:7] = 1
    found = objects(about('detection', masks='full'), detected(masks=masks), (20, 30), (20, 30))
    assert (
        found.patches is not None
        and found.patches[0].mask.shape == (5, 4)
        and np.array_equal(found.patches[0].on((20, 30)), masks[0, 0])
    )
    half = objects(about('detection', masks='full'), detected(masks=masks), (20, 30), (10, 15))
    assert half.patches is not None and half.patches[0].area == 4


def test_a_picture_that_is_too_small() -> None:
    said = about('segmentation', input=dict(least=32))
    with pytest.raises(InputError, match='has 40x31 pixels: expected height and width of at least 32, the last stride; resize'):
        given_to(said, photograph(31, 40, 0))
    assert given_to(said, photograph(32, 40, 0)).shape == (32, 40, 3)
