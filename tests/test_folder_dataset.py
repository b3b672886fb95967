"""The data set of --data for segmentation: the same masks from files and from outlines, in this process and in others."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from layout_sets import MASKS, OBJECTS, painted, toy
from mmengine.registry import DefaultScope

from convnext_dense.data.layouts.found import IGNORE
from convnext_dense.data.layouts.index import write
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.segmentation.folder_dataset import FolderDataset, LoadFolderAnnotations

TREES = ('building', 'sky', 'tree')


def masks(root: Path, tmp_path: Path) -> list[np.ndarray]:
    found = read_folder(str(root))
    write(found, found.pictures, tmp_path / 'record.json')
    values = found.values
    options = {} if values is None else dict(values=sorted(values.classes.items()), colours=values.colours)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadFolderAnnotations', **options)]
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = FolderDataset(
            ann_file=str(tmp_path / 'record.json'),
            data_root=str(found.root),
            metainfo=dict(classes=list(found.classes)),
            pipeline=pipeline,
        )
    dataset = pickle.loads(pickle.dumps(dataset))  # as a loading process gets it
    assert tuple(dataset.metainfo['classes']) == found.classes and not dataset.reduce_zero_label
    results = [dataset[i] for i in range(len(dataset))]
    assert all(one['gt_seg_map'].shape == one['img'].shape[:2] and one['seg_fields'] == ['gt_seg_map'] for one in results)
    kept = np.array([TREES.index(name) if name in TREES else IGNORE for name in found.classes], np.uint8)
    lookup = np.concatenate([kept, np.full(256 - len(kept), IGNORE, np.uint8)])
    return [lookup[one['gt_seg_map']] for one in results]


@pytest.mark.parametrize('name', [name for name in MASKS if name != 'cvat_masks'])
def test_masks_of_every_layout(name: str, tmp_path: Path) -> None:
    scenes = painted(toy(tmp_path / 'toy'))
    (tmp_path / name).mkdir()
    MASKS[name](tmp_path / name, scenes, TREES)
    expected = [np.where(one.mask == 0, IGNORE, one.mask - 1) for one in [*scenes['train'], *scenes['val']]]
    for mine, theirs in zip(masks(tmp_path / name, tmp_path), expected, strict=True):
        assert np.array_equal(mine, theirs)


def test_outlines_are_drawn_as_the_masks_are(tmp_path: Path) -> None:
    parts = toy(tmp_path / 'toy')
    OBJECTS['coco'](tmp_path / 'coco', parts)
    found = read_folder(str(tmp_path / 'coco'))
    load = LoadFolderAnnotations(background=7)
    for picture, one in zip(found.pictures, [*painted(parts)['train'], *painted(parts)['val']]):
        outlines = [(thing.label, thing.outline) for thing in picture.objects]
        results = load.transform(dict(outlines=outlines, ori_shape=picture.size[::-1], seg_fields=[]))
        assert np.array_equal(results['gt_seg_map'], np.where(one.mask == 0, 7, one.mask - 1))
