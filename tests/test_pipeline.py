"""What a pipeline in a config says: sizes as mmcv's steps make them."""

import cv2
import numpy as np
import pytest
from mmcv.transforms import Resize

from convnext_dense import InputError
from convnext_dense.data.pipeline import check_resizes, says, smallest_side, steps

RESIZE = dict(type='Resize', scale=(64, 16), keep_ratio=True)


def test_every_step_is_found() -> None:
    inner = dict(type='Inner')
    node = [dict(type='Outer', transforms=[(inner,), [dict(type='Last', more=inner)]]), 'text', None]
    assert [step['type'] for step in steps(node)] == ['Outer', 'Inner', 'Last', 'Inner']
    assert list(steps(None)) == list(steps('type')) == []


@pytest.mark.parametrize('value, expected', [(True, True), (1, True), (False, False), (None, False)])
def test_what_a_config_says(value, expected: bool) -> None:
    assert says([dict(a=1), dict(transforms=[dict(with_mask=value)])], 'with_mask') is expected
    assert says(None, 'with_mask') is False


@pytest.mark.parametrize('keep', [True, False])
@pytest.mark.parametrize('size', [(100, 100), (1, 10_000), (10_000, 1), (33, 47), (640, 480), (3, 2)])
@pytest.mark.parametrize('scale', [(64, 16), (16, 64), (40, 40), 40, 0.5, 2.0, 1.37, (0.5, 0.7)])
def test_as_mmcv_resizes(size, scale, keep: bool) -> None:
    """Where mmcv leaves a side without a pixel, OpenCV refuses; elsewhere the shorter side is that of its picture."""
    factor = any(isinstance(part, float) for part in (scale if isinstance(scale, tuple) else [scale]))
    step = dict(keep_ratio=keep) | (dict(scale_factor=scale) if factor else dict(scale=scale))
    expected = smallest_side(size, [dict(type='LoadImageFromFile'), dict(type='Resize', **step)])
    results = dict(img=np.zeros((size[1], size[0]), np.uint8), img_shape=size[::-1])
    if expected == 0:
        with pytest.raises(cv2.error, match='inv_scale_x > 0|dsize.empty'):
            Resize(**step)(results)
    else:
        assert min(Resize(**step)(results)['img'].shape) == expected


@pytest.mark.parametrize(
    'pipeline, expected',
    [
        (None, 50),
        ([], 50),
        ([dict(type='RandomCrop', scale=(4, 4))], 50),
        ([RESIZE], 16),
        ([dict(RESIZE, type='mmcv.Resize')], 16),
        ([dict(type='RandomChoice', transforms=[[RESIZE], [dict(RESIZE, scale=(9, 99))]])], 9),
        ([dict(type='RandomResize', scale=(64, 16), ratio_range=(0.5, 2.0), keep_ratio=True)], 8),
        ([dict(type='RandomResize', scale=[(64, 16), (30, 10)], keep_ratio=True)], 10),
        ([dict(type='RandomChoiceResize', scales=[16, 32], resize_type='ResizeShortestEdge')], 16),
        ([dict(type='RandomChoiceResize', scales=[(99, 40), (99, 20)], keep_ratio=True)], 20),
        ([dict(type='RandomChoiceResize', scales=[32, (99, 20)], keep_ratio=True)], 16),
        ([dict(type='Resize', scale='large')], 50),  # and others, which the steps refuse themselves
        ([dict(type='Resize', scale=0.5)], 50),
        ([dict(type='Resize')], 50),
        ([dict(type='Resize', scale_factor=(0.5, 0.5, 0.5))], 50),
        ([dict(type='Resize', scale=(float('inf'), 4), keep_ratio=True), RESIZE], 16),
        ([dict(type='Resize', scale=(4, float('nan')))], 50),
        ([dict(type='RandomResize', scale=(64, 16), ratio_range='ab')], 50),
        ([dict(type='RandomResize', scale=(64, 16), ratio_range=5)], 50),
    ],
)
def test_the_smallest_of_several(pipeline, expected: int) -> None:
    assert smallest_side((100, 50), pipeline) == expected


@pytest.mark.parametrize(
    'step, message',
    [
        (dict(RESIZE, scale=(0, 0)), r'p\[1\]: expected numbers above 0 in scale of Resize, got \(0, 0\)'),
        (dict(RESIZE, scale=-1), 'in scale of Resize, got -1'),
        (dict(type='mmcv.Resize', scale_factor=0), 'in scale_factor of mmcv.Resize, got 0'),
        (
            dict(type='RandomChoice', transforms=[[RESIZE, dict(RESIZE, scale=[9, -9])]]),
            r'p\[1\].transforms\[0\]\[1\]: .*-9',
        ),
        (
            dict(type='RandomChoiceResize', scales=[(9, 9), (9, 0)]),
            r'scales of RandomChoiceResize, got \[\(9, 9\), \(9, 0',
        ),
        (dict(type='RandomResize', scale=(9, 9), ratio_range=(0, 2)), 'in ratio_range'),
        (dict(type='RandomCrop', scale=(0, 0)), None),
        (dict(RESIZE, scale=None, scale_factor=0.5), None),
        (dict(RESIZE, scale='x'), None),
        (dict(RESIZE, scale=[]), None),
    ],
)
def test_scales_that_leave_nothing(step, message: str | None) -> None:
    pipeline = [dict(type='LoadImageFromFile'), step]
    if message is None:
        check_resizes('p', pipeline)
    else:
        with pytest.raises(InputError, match=message):
            check_resizes('p', pipeline)
