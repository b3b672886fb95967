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
