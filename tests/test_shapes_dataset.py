"""The toy set as a data set of MMSegmentation and of MMDetection: classes, masks and boxes of the drawn files."""

import json
from pathlib import Path

import numpy as np
from mmdet.registry import DATASETS as DETECTION
from mmseg.registry import DATASETS as SEGMENTATION
from PIL import Image

from convnext_dense.data.shapes import CLASSES, PALETTE, SHAPES
from convnext_dense.detection.shapes_dataset import ShapesCocoDataset
from convnext_dense.segmentation.shapes_dataset import ShapesDataset

LOAD = [dict(type='LoadImageFromFile')]


def test_masks_are_ade20ks(shapes: str) -> None:
    """0 is unlabelled and becomes 255, k the k-th class."""
    prefix = dict(img_path='images/training', seg_map_path='annotations/training')
    spec = dict(type='ShapesDataset', data_root=shapes, data_prefix=prefix, pipeline=[*LOAD, dict(type='LoadAnnotations')])
    dataset = SEGMENTATION.build(dict(spec, _scope_='mmseg'))
    assert type(dataset) is ShapesDataset and len(dataset) == 6
    assert dataset.metainfo['classes'] == CLASSES and dataset.metainfo['palette'] == [list(colour) for colour in PALETTE]
    sample = dataset[0]
    drawn = np.asarray(Image.open(sample['seg_map_path'])).astype(int)
    assert np.array_equal(sample['gt_seg_map'], np.where(drawn == 0, 255, drawn - 1))
    assert set(np.unique(drawn)) > {1} and drawn.max() <= len(CLASSES)
    kept = SEGMENTATION.build(dict(spec, _scope_='mmseg', reduce_zero_label=False))
    assert np.array_equal(kept[0]['gt_seg_map'], drawn)


def test_instances_have_the_shapes_as_classes(shapes: str) -> None:
    spec = dict(type='ShapesCocoDataset', data_root=shapes, ann_file='instances_training.json', pipeline=[])
    dataset = DETECTION.build(dict(spec, data_prefix=dict(img='images/training'), _scope_='mmdet'))
    assert type(dataset) is ShapesCocoDataset and len(dataset) == 6
    assert dataset.metainfo['classes'] == SHAPES and dataset.metainfo['palette'] == list(PALETTE[1:])
    content = json.loads(Path(shapes, 'instances_training.json').read_text())
    names = {item['id']: item['name'] for item in content['categories']}
    objects = [item for i in range(6) for item in dataset.get_data_info(i)['instances']]
    drawn = [names[item['category_id']] for item in content['annotations']]
    assert sorted(SHAPES[item['bbox_label']] for item in objects) == sorted(drawn) and len(set(drawn)) > 1
