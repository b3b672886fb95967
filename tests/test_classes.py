"""Overrides that the options of a COCO data set would replace are refused."""

import shutil
from pathlib import Path

import pytest
from conftest import SHAPES_COCO

from convnext_dense import InputError
from convnext_dense.data.coco import read_coco
from convnext_dense.run.classes import settle_coco
from convnext_dense.run.options import load_config

TRAIN_VAL = ('train_dataloader', 'val_dataloader')
FILES = ('instances_training.json', 'instances_validation.json')


@pytest.fixture
def root(shapes: str, tmp_path) -> Path:
    read_coco.cache_clear()
    return Path(shutil.copytree(shapes, tmp_path / 'shapes'))


def settle(root: Path, key: str, value: str, *files: str) -> None:
    settle_coco(load_config(SHAPES_COCO, {key: value}, str(root)), TRAIN_VAL, *files, overrides={key: value})


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('train_dataloader.dataset.ann_file', FILES[0], '--train-ann and .*: expected one of the two, got both'),
        ('val_dataloader.dataset.ann_file', FILES[1], '--val-ann and .*: expected one of the two, got both'),
        ('test_dataloader.dataset.ann_file', FILES[1], '--val-ann and .*: expected one of the two, got both'),
        ('train_dataloader.dataset.data_prefix.img', 'images/validation', '.*images/validation, where not all of them are'),
        ('val_evaluator.ann_file', FILES[0], 'expected the data set.s file, .*validation.json, got instances_training.json'),
    ],
)
def test_overrides_that_would_be_dropped(root: Path, key: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=rf'{message}') as caught:
        settle(root, key, value, *FILES)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    'key, value',
    [
        ('train_dataloader.dataset.ann_file', FILES[0]),
        ('train_dataloader.dataset.data_prefix.img', 'images/training'),
        ('val_evaluator.ann_file', FILES[1]),
    ],
)
def test_overrides_that_are_read(root: Path, key: str, value: str) -> None:
    settle(root, key, value)


@pytest.mark.parametrize('part', [{'rpn_head': {'num_classes': 1}}, {'roi_head': {'semantic_head': {'num_classes': 183}}}])
def test_heads_that_classify_something_else_keep_their_number(root: Path, part: dict) -> None:
    cfg = load_config(SHAPES_COCO, None, str(root))
    cfg.merge_from_dict({'model': part})
    settle_coco(cfg, TRAIN_VAL)
    ((name, inner),) = part.items()
    for key, value in inner.items():
        assert cfg.model[name][key] == value
    assert cfg.model.roi_head.bbox_head.num_classes == 5


def test_a_head_of_another_number_of_classes_is_refused(root: Path) -> None:
    cfg = load_config(SHAPES_COCO, None, str(root))
    cfg.model.roi_head.mask_head.num_classes = 4
    with pytest.raises(InputError, match=r'num_classes: expected 5, .*got 4'):
        settle_coco(cfg, TRAIN_VAL)
