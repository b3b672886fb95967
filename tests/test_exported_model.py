"""Exported files that answer on pictures: as they are, raw, of one size, in batches."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from exported_files import BOXES, MASKS, description, logits_of, normalised, write
from models import photograph, write_photograph

from convnext_dense.errors import InputError
from convnext_dense.predict.exported_model import ExportedFile, ExportedModel
from convnext_dense.predict.exported_picture import classes_of, pasted
from convnext_dense.predict.result import NOTHING

SUFFIXES = ('.onnx', '.xml')


def model(path: Path, task: str = 'segmentation', options: Any = None, **changes: Any) -> ExportedModel:
    return ExportedModel(ExportedFile(write(path, description(task, **changes))), **options or {})


def expected(bgr: np.ndarray, corners: bool = False, threshold: float = 0.3) -> np.ndarray:
    """Classes of the segmentor of tests at the picture's own size."""
    size = (bgr.shape[0], bgr.shape[1])
    return classes_of(logits_of(normalised(bgr)), size, size, corners, threshold)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_segmentor(suffix: str, tmp_path: Path) -> None:
    path = write_photograph(tmp_path / 'pictures/a.png', 61, 83)
    bgr = cv2.imread(str(path))
    found = model(tmp_path / f'm{suffix}')
    result = found(str(path))
    assert (result.mask == expected(bgr)).mean() > 0.999 and result.mask.dtype == np.uint8
    assert np.array_equal(result.bgr, bgr) and result.classes == ('cat', 'dog', 'hen') and result.source == str(path)
    assert repr(found) == f'ExportedModel(segmentor of 3 classes in m{suffix})'
    for given in (bgr[..., ::-1], [path], str(tmp_path / 'pictures')):
        again = found(given)
        assert np.array_equal(
            (again if given is not path and not isinstance(given, (list, str)) else next(iter(again))).mask, result.mask
        )


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_raw_segmentor(suffix: str, tmp_path: Path) -> None:
    """Resized and normalised by the caller, its logits brought back to the picture."""
    resize = dict(scale=[120, 90], keep_ratio=True)
    found = model(tmp_path / f'm{suffix}', raw=True, resize=resize)
    rgb = photograph(61, 83)
    bgr = cv2.resize(rgb[..., ::-1], (120, 88))
    theirs = classes_of(logits_of(normalised(bgr)), (88, 120), (61, 83), False, 0.3)
    assert (found(rgb).mask == theirs).mean() > 0.999
    plain = model(tmp_path / f'n{suffix}', raw=True)(rgb).mask
    assert (plain == expected(rgb[..., ::-1])).mean() > 0.999


def test_a_segmentor_of_one_channel(tmp_path: Path) -> None:
    changes: dict[str, Any] = dict(classes=['no', 'yes'], palette=[[0] * 3, [9] * 3])
    rgb = photograph(40, 52)
    whole = model(tmp_path / 'm.onnx', **changes)(rgb).mask
    logits = logits_of(normalised(rgb[..., ::-1]))[:1]
    assert np.array_equal(whole, classes_of(logits, (40, 52), (40, 52), False, 0.3)) and set(np.unique(whole)) == {0, 1}
    raw = model(tmp_path / 'n.onnx', raw=True, resize=dict(scale=[20, 26], keep_ratio=True), **changes)(rgb).mask
    assert raw.shape == (40, 52) and (raw == whole).mean() > 0.6


def test_chosen_classes_of_a_segmentor(tmp_path: Path) -> None:
    rgb = photograph(40, 52)
    whole = model(tmp_path / 'm.onnx')(rgb).mask
    chosen = model(tmp_path / 'm.onnx', options=dict(classes=['dog']))(rgb).mask
    assert np.array_equal(chosen, np.where(whole == 1, 1, NOTHING))
    with pytest.raises(InputError, match='expected names of the model'):
        model(tmp_path / 'm.onnx', options=dict(classes=['dof']))


@pytest.mark.parametrize('raw', [False, True])
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_detector(suffix: str, raw: bool, tmp_path: Path) -> None:
    more = dict(raw=True, resize=dict(scale=[100, 60], keep_ratio=True)) if raw else {}
    found = model(tmp_path / f'm{suffix}', 'detection', **more)(photograph(61, 83))
    boxes = BOXES[:2] * np.float32([83, 61] * 2)
    np.testing.assert_allclose(found.boxes, boxes, rtol=1e-5)
    assert found.names == ['dog', 'cat'] and found.scores.tolist() == pytest.approx([0.9, 0.6]) and found.mask is None
    for i, box in enumerate(boxes):
        assert (found.masks[i] == pasted(MASKS[i], box, (61, 83), 0.5).on((61, 83))).mean() > 0.999
        assert found.patch(i).mask.size < 61 * 83  # the box's own part alone


def test_objects_that_are_asked_for(tmp_path: Path) -> None:
    rgb = photograph(61, 83)
    for options, names in (
        (dict(score=0), ['dog', 'cat', 'hen']),
        (dict(score=0.95), []),
        (dict(score=0, classes=['hen', 'dog']), ['dog', 'hen']),
    ):
        found = model(tmp_path / 'm.onnx', 'detection', options)(rgb)
        assert found.names == names and len(found.masks) == len(names)


def test_a_detector_of_whole_masks_and_of_none(tmp_path: Path) -> None:
    rgb = photograph(40, 52)
    red = normalised(rgb[..., ::-1])[..., 0]
    whole = model(tmp_path / 'm.onnx', 'detection', masks='full')(rgb)
    assert np.array_equal(whole.masks, np.stack([red > -1, red > np.float32(-1 / 3)]))
    assert model(tmp_path / 'n.onnx', 'detection', masks=None)(rgb).masks is None


def test_batches(tmp_path: Path) -> None:
    rgbs = [photograph(40, 52, seed) for seed in range(3)] + [photograph(20, 30)]
    one_by_one, together = (model(tmp_path / 'm.onnx', options=dict(batch_size=size)) for size in (1, 2))
    for one, other in zip(one_by_one(rgbs), together(rgbs)):
        assert np.array_equal(one.mask, other.mask)
    with pytest.raises(InputError, match='batch_size: expected 1, which .*d.onnx is exported for, got 2'):
        model(tmp_path / 'd.onnx', 'detection', dict(batch_size=2))


def test_a_file_for_one_size(tmp_path: Path) -> None:
    fixed = model(tmp_path / 'm.onnx', input=dict(size=[40, 52]))
    assert fixed(photograph(40, 52)).mask.shape == (40, 52)
    with pytest.raises(InputError, match=r'picture: is 20x30 \(height x width\) where the model takes 40x52 alone; resize it'):
        fixed(photograph(20, 30))
    told: list[str] = []
    given = [photograph(20, 30), photograph(40, 52)]
    assert len(list(fixed.stream(given, lambda item, why: told.append(why)))) == 1 and 'takes 40x52 alone' in told[0]


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / 'a.jpg').write_bytes(b'no picture')
    with pytest.raises(InputError, match=r'a.jpg: cannot be read'):
        model(tmp_path / 'm.onnx')(str(tmp_path / 'a.jpg'))


def test_a_picture_that_the_runtime_refuses(tmp_path: Path) -> None:
    """The graph is of one size, and its description does not say so."""
    path = write(tmp_path / 'm.onnx', description(input=dict(size=[40, 52])), json.dumps(description()))
    with pytest.raises(
        InputError, match=r'is not taken by the model \(.*onnxruntime stops at an input of uint8 \(1, 20, 30, 3\)'
    ):
        ExportedModel(ExportedFile(path))(photograph(20, 30))


def test_outputs_that_are_not_there(tmp_path: Path) -> None:
    text = json.dumps(description('segmentation'))
    file = ExportedFile(write(tmp_path / 'm.onnx', description('detection'), text))
    with pytest.raises(InputError, match='expected the outputs classes, logits too, got boxes, scores, labels, masks'):
        file.run(photograph(20, 30)[None])


def test_threads_that_cannot_be(tmp_path: Path) -> None:
    path = write(tmp_path / 'm.onnx')
    with pytest.raises(InputError, match='threads: expected a whole number from 1 up'):
        ExportedFile(path, threads=0)
    with pytest.raises(InputError, match='m.onnx: expected format 1, got 7'):
        ExportedFile(write(tmp_path / 'm.onnx', description(format=7)))
