"""Masks that are loaded after their picture was resized, and the picture of a mosaic that failed."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.datasets import MultiImageMixDataset
from mmengine.dataset import BaseDataset
from mmengine.registry import TRANSFORMS
from mmseg.datasets import BaseSegDataset
from mmseg.utils import register_all_modules

from convnext_dense import InputError
from convnext_dense.training.bad_pictures import ReadableDataset, check_mask_sizes, failed_picture
from convnext_dense.training.dataset import ResumableDataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of 40 x 30 pixels with masks; the second mask is larger."""
    for name, size in dict(a=(30, 40), b=(32, 40)).items():
        for kind, shape in dict(img=(30, 40, 3), ann=size).items():
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f'{name}.png'), np.zeros(shape, np.uint8))
    return tmp_path


def segmentation(folder: Path, pipeline: list[dict]) -> BaseSegDataset:
    register_all_modules(init_default_scope=True)
    return BaseSegDataset(
        data_root=str(folder),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        img_suffix='.png',
        pipeline=pipeline,
        metainfo=dict(classes=('x',)),
    )


LOAD, ANNOTATIONS, RESIZE = (
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(20, 20), keep_ratio=True),
)


@pytest.mark.parametrize('steps', [[LOAD, RESIZE, ANNOTATIONS], [LOAD, ANNOTATIONS, RESIZE], [LOAD, ANNOTATIONS]])
def test_a_mask_is_compared_with_the_picture_as_it_was_loaded(folder: Path, steps: list[dict]) -> None:
    """As in the recipes, which load it after resizing where they test."""
    dataset = segmentation(folder, [*steps, dict(type='PackSegInputs')])
    check_mask_sizes(dataset)
    read = ReadableDataset(dataset)
    assert read[0]['data_samples'].gt_sem_seg.shape
    with pytest.raises(InputError, match=r'ann/b.png: expected a mask of 40 x 30 pixels, as its picture, got 40 x 32'):
        read[1]


def test_the_recipes_of_ade20k_compare(cfg, folder: Path) -> None:
    from convnext_dense.run.options import load_config

    pipeline = load_config('upernet_convnext_t_ade20k').val_dataloader.dataset.pipeline
    dataset = segmentation(folder, [step | {} for step in pipeline])
    check_mask_sizes(dataset)
    assert dataset[0]['inputs'].shape[-1] == 683 and dataset[0]['data_samples'].gt_sem_seg.shape == (30, 40)


class Load:
    """Fails for the picture 2."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if results['img_path'] == '2.png':
            raise OSError('broken data stream')
        return results


class Mix:
    """Takes the next two samples, too."""

    def get_indexes(self, dataset: Any) -> list[int]:
        return [1, 2]

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        return results


class Pictures(BaseDataset):
    def load_data_list(self) -> list[dict[str, Any]]:
        return [dict(img_path=f'{i}.png') for i in range(4)]


def test_the_picture_of_a_mosaic_that_failed_is_named() -> None:
    TRANSFORMS.register_module(name='MixForTest', module=Mix, force=True)
    mixed = MultiImageMixDataset(dataset=dict(type=Pictures, pipeline=[Load()]), pipeline=[dict(type='MixForTest')])
    with pytest.raises(InputError, match='^2.png: OSError: broken data stream'):
        ReadableDataset(mixed)[0]
    with pytest.raises(OSError, match='broken') as error:
        ResumableDataset(mixed)[0]
    assert failed_picture(error.value, mixed, 0) == '2.png' and failed_picture(OSError(), mixed, 3) == '3.png'
