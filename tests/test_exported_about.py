"""What an exported file says about itself: read, and refused where it cannot be used."""

import json
from typing import Any

import pytest
from exported_files import CLASSES, description

from convnext_dense.errors import InputError
from convnext_dense.predict.exported_about import Resize, parsed


def about(task: str = 'segmentation', **changes: Any) -> Any:
    return parsed(json.dumps(description(task, **changes)))


def test_a_pipeline_that_is_the_callers() -> None:
    with pytest.raises(InputError, match=r'got a raw file of .*Pad.*, which its caller has to run; predict by its'):
        about(raw=True, resize=dict(steps="[dict(type='Pad')]"))


def test_a_whole_one() -> None:
    found = about('detection', raw=True, resize=dict(scale=[1333, 800], keep_ratio=True), input=dict(size=[64, 96]))
    assert not found.is_segmentor and found.classes == tuple(CLASSES) and found.palette[0] == (255, 0, 0)
    assert found.raw and found.channels_first and found.rgb and found.size == (64, 96) and found.batch == 1
    assert found.resize == Resize((1333, 800), True) and found.masks == 'crop' and found.mask_threshold == 0.5
    plain = about()
    assert plain.is_segmentor and plain.size is None and plain.batch is None and plain.resize is None and plain.masks is None
    assert not plain.channels_first and plain.threshold == 0.3 and about(mask_threshold=None).mask_threshold == 0.5


@pytest.mark.parametrize(
    'text, words',
    [
        (None, 'a file that convnext-dense wrote, got one without its description'),
        ('{', 'description as JSON'),
        ('[]', 'JSON object, got'),
        ('{}', 'expected format 1 in its description, got None; export it again'),
        ('{"format": true}', 'got True; export it again'),
        ('{"format": 1}', r"one that cannot be used \('input' missing\)"),
        ('{"format": 2, "made_by": "convnext_dense 9"}', 'got 2, of .convnext_dense 9.; install a newer convnext_dense'),
    ],
)
def test_what_is_none(text: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parsed(text)


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(task='depth'), "task 'depth', where 'segmentation', 'detection' are known"),
        (dict(classes=['a']), '1 classes and 3 colours'),
        (dict(palette=[[1, 2]] * 3), 'not enough values'),
        (dict(std=[1, 0, 1]), 'std'),
        (dict(mean=[1]), 'mean'),
        (dict(masks='polygon'), "masks 'polygon'"),
        (dict(resize=dict(scale=[0, 5], keep_ratio=True)), 'scale'),
        (dict(resize=dict(scale=[9, 5])), "'keep_ratio' missing"),
        (dict(input=dict(layout='HWC')), "layout 'HWC'"),
        (dict(input=dict(type='float32')), 'an input of float32 with raw False'),
        (dict(input=dict(size=[0, 5])), 'size'),
        (dict(input=dict(batch=4)), 'batch 4'),
    ],
)
def test_parts_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=rf'expected a whole description, got one that cannot be used \(.*{words}.*\); export'):
        about(**changes)
