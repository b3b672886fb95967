"""A test pipeline without its annotations."""

import numpy as np
import pytest
from conftest import SHAPES_COCO
from mmengine.registry import DefaultScope

from convnext_dense.errors import InputError
from convnext_dense.predict.steps import build_pipeline, name_of, without_annotations
from convnext_dense.run.options import load_config


def test_what_loads_annotations_is_left_out() -> None:
    cfg = load_config(SHAPES_COCO)
    with DefaultScope.overwrite_default_scope('mmdet'):
        load, rest = build_pipeline(cfg.test_dataloader.dataset.pipeline)
        given = dict(img=np.zeros((40, 50, 3), np.uint8), img_path='', img_id=0, img_shape=(40, 50), ori_shape=(40, 50))
        assert tuple(rest(given)['inputs'].shape) == (3, 154, 192)
    assert type(load).__name__ == 'LoadImageFromFile'
    assert [type(step).__name__ for step in rest.transforms] == ['Resize', 'PackDetInputs']


def test_augmentations_keep_their_groups() -> None:
    groups = [
        [dict(type='Resize')],
        [dict(type='LoadAnnotations')],
        [dict(type='mmdet.LoadPanopticAnnotations'), dict(type='Pack')],
    ]
    found = without_annotations(dict(type='TestTimeAug', transforms=groups))
    assert found['transforms'] == [[dict(type='Resize')], [dict(type='Pack')]]
    assert without_annotations(dict(type='Resize')) == dict(type='Resize')


def test_names() -> None:
    assert name_of(dict(type='mmdet.Resize')) == 'Resize' and name_of(dict(type=dict)) == 'dict' and name_of(3) == ''


@pytest.mark.parametrize('given', [None, [], [dict(type='Resize')], [dict(type='LoadImageFromFile'), dict(type='NoSuchStep')]])
def test_pipelines_that_cannot_be(given) -> None:
    with pytest.raises(InputError, match='its config: '):
        build_pipeline(given)
