"""A least score within: the same objects above it, no mask computed for the others, the threshold given back."""

import numpy as np
import pytest
import torch
from models import photograph

from convnext_dense.predict.least_score import least_score
from convnext_dense.predict.loading import load_model


def test_the_same_objects_and_no_mask_for_the_others(detector_file: str) -> None:
    picture = photograph(96, 96)
    everything = load_model(detector_file, score=0)(picture)
    limit = float(np.median(everything.scores))
    model = load_model(detector_file, score=limit)
    seen = []
    head = model.model.roi_head
    head.mask_head.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    before = head.test_cfg.score_thr
    found = model(picture)
    above = everything.scores >= np.float32(limit)
    assert 0 < above.sum() == sum(seen) == len(found.scores) < len(everything.scores)
    assert np.array_equal(found.boxes, everything.boxes[above]) and np.array_equal(found.scores, everything.scores[above])
    assert np.array_equal(found.masks, np.asarray(everything.masks)[above])
    assert head.test_cfg.score_thr == before < limit


def test_a_score_that_is_met_exactly(detector_file: str) -> None:
    model = load_model(detector_file).model
    with least_score(model, 0.3):
        assert np.float32(0.3) > model.roi_head.test_cfg.score_thr >= 0.3 - 1e-6


@pytest.mark.parametrize('score', [0.0, 0.01])
def test_a_lower_score_changes_nothing(detector_file: str, score: float) -> None:
    model = load_model(detector_file).model
    before = model.roi_head.test_cfg.score_thr
    with least_score(model, score):
        assert model.roi_head.test_cfg.score_thr == before > score


def test_an_error_gives_it_back_and_other_models_have_none(detector_file: str) -> None:
    model = load_model(detector_file).model
    before = model.roi_head.test_cfg.score_thr
    with pytest.raises(KeyError), least_score(model, 0.9):
        raise KeyError
    assert model.roi_head.test_cfg.score_thr == before
    with least_score(torch.nn.Linear(2, 2), 0.9):
        pass
