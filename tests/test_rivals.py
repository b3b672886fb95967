"""Rivals that must compute what this project does, do."""

from dataclasses import replace

import pytest

from convnext_dense.benchmark.contest import OURS, WORKS, build, difference, prepare, runner
from convnext_dense.benchmark.rivals import share_weights

SMALL = {'backbone': (1, 64, 96), 'upernet': (1, 64, 96), 'mask-rcnn': (1, 96, 128)}


@pytest.fixture(autouse=True)
def registered():
    prepare()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('key', 'rival'), [('backbone', 'official'), ('upernet', 'mmseg'), ('mask-rcnn', 'mmdet with torchvision')]
)
def test_rivals_that_must_compute_the_same_do(key, rival):
    work = replace(WORKS[key], size=SMALL[key])
    ours, theirs = build(work, OURS), build(work, rival)
    share_weights(ours.model, theirs.model)
    assert difference(work, ours, theirs) < 1e-4
    if key == 'mask-rcnn':
        found = runner(work, ours, 'channels last')()
        assert len(found) > 0 and found.masks.shape == (len(found), 96, 128)
