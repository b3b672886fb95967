"""What a file is held against is what the model predicts through the command's own path."""

import numpy as np
import pytest
from mmengine.config import Config
from models import photograph

from convnext_dense import load_model
from convnext_dense.export.reference import Reference


def test_a_segmentor(segmentor_file: str) -> None:
    model = load_model(segmentor_file, device='cpu')
    rgb = photograph(97, 131, 0)
    classes, logits = Reference(model).answer(rgb)
    assert (classes[0] == model(rgb).mask).all()
    assert logits.shape == (1, len(model.classes), 24, 32)


def test_a_resize_before_it(segmentor_file: str) -> None:
    model = load_model(segmentor_file, device='cpu')
    model.cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Resize', scale=(200, 100), keep_ratio=True))
    rgb = photograph(97, 131, 0)
    reference = Reference(model)
    classes, logits = reference.answer(rgb)
    assert classes.shape == (1, 97, 131) and logits.shape == (1, len(model.classes), 25, 33)
    assert reference.taken(rgb).shape == (1, 97, 131, 3)
    raw = Reference(model, raw=True)
    assert raw.taken(rgb).shape == (1, 3, 97, 131) and raw.taken(rgb).dtype == np.float32
    assert raw.answer(rgb)[1].shape == (1, len(model.classes), 24, 32)


def test_windows_are_left_out(segmentor_file: str) -> None:
    """A file takes the whole picture."""
    model = load_model(segmentor_file, device='cpu')
    rgb = photograph(97, 131, 0)
    whole = Reference(model).answer(rgb)[0]
    model.model.test_cfg = Config(dict(mode='slide', crop_size=(64, 64), stride=(33, 33)))
    assert (Reference(model).answer(rgb)[0] == whole).all() and (model(rgb).mask != whole[0]).any()
    assert model.model.test_cfg.mode == 'slide'


@pytest.mark.slow
def test_a_detector(detector_file: str) -> None:
    model = load_model(detector_file, device='cpu', score=0.0)
    rgb = photograph(97, 131, 0)
    boxes, scores, labels, masks = Reference(model).answer(rgb)
    want = model(rgb)
    assert len(boxes) and (boxes == want.boxes).all() and (scores == want.scores).all() and (labels == want.labels).all()
    assert (masks == want.masks).all() and masks.shape[1:] == (97, 131)
    raw = Reference(model, raw=True)
    assert raw.taken(rgb).shape == (1, 3, 97, 131)  # without the padding to a multiple of 32
    assert raw.answer(rgb)[3].shape[1:] == (97, 131) and raw.answer(rgb)[0].max() <= 131
