"""Classes of COCO files in every head and data set; overrides that the options would replace are refused."""

import json
import shutil
from pathlib import Path

import pytest
from coco_sets import CASCADE, TRAIN_VAL, config, edit
from conftest import ROOT, SHAPES_COCO
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.data.check import check_data, check_split
from convnext_dense.data.shapes import SHAPES
from convnext_dense.run.classes import coco_files, dataset_specs, settle_coco
from convnext_dense.run.nodes import leaves
from convnext_dense.run.options import dicts, load_config

FILES = ('instances_training.json', 'instances_validation.json')


def settle(root: Path, key: str, value: str, *files: str) -> Config:
    cfg = load_config(SHAPES_COCO, {key: value}, str(root))
    settle_coco(cfg, TRAIN_VAL, *files, overrides={key: value})
    return cfg


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
    assert str(dict(leaves(settle(root, key, value)._cfg_dict))[key]).endswith(value)


@pytest.mark.parametrize('part', [{'rpn_head': {'num_classes': 1}}, {'roi_head': {'semantic_head': {'num_classes': 183}}}])
def test_heads_that_classify_something_else_keep_their_number(root: Path, part: dict) -> None:
    cfg = load_config(SHAPES_COCO, None, str(root))
    cfg.merge_from_dict({'model': part})
    settle_coco(cfg, TRAIN_VAL)
    ((name, inner),) = part.items()
    for key, value in inner.items():
        assert cfg.model[name][key] == value
    assert cfg.model.roi_head.bbox_head.num_classes == 5


@pytest.mark.parametrize('key', ['model.rpn_head.num_classes', 'model.roi_head.semantic_head.num_classes'])
def test_an_override_of_such_a_number_is_taken(root: Path, key: str) -> None:
    cfg = load_config(SHAPES_COCO, None, str(root))
    cfg.merge_from_dict({key: 1})
    settle_coco(cfg, TRAIN_VAL, overrides={key: 1})
    assert cfg.model.rpn_head.get('num_classes', 1) == 1
    with pytest.raises(InputError, match=r'bbox_head.num_classes: expected 5, .*got 1'):
        settle_coco(cfg, TRAIN_VAL, overrides={'model.roi_head.bbox_head.num_classes': 1})


def test_a_head_of_another_number_of_classes_is_refused(root: Path) -> None:
    cfg = load_config(SHAPES_COCO, None, str(root))
    cfg.model.roi_head.mask_head.num_classes = 4
    with pytest.raises(InputError, match=r'num_classes: expected 5, .*got 4'):
        settle_coco(cfg, TRAIN_VAL)


@pytest.mark.parametrize('name', [SHAPES_COCO, CASCADE])
def test_classes_of_the_file_are_set_in_every_head_and_data_set(root: Path, name: str) -> None:
    cfg = config(root, name)
    lines = settle_coco(cfg, TRAIN_VAL, 'instances_training.json', 'instances_validation.json')
    numbers = [node['num_classes'] for node in dicts(cfg.model) if 'num_classes' in node]
    assert len(numbers) == (4 if name == CASCADE else 2) and set(numbers) == {5} and cfg.num_classes == 5
    assert any(f'classes: 5 from {root}' in line and 'disc, square' in line for line in lines)
    for loader in TRAIN_VAL:
        spec = dataset_specs(cfg, loader)[0]
        assert coco_files(spec).images.is_dir() and coco_files(spec).annotations.is_file()
        if name == CASCADE:
            assert spec.metainfo.classes == SHAPES and len(spec.metainfo.palette) == 5
    assert cfg.val_evaluator.ann_file == str(root / 'instances_validation.json')
    assert check_split('train_dataloader', cfg, 'all') == []


def test_cocos_own_classes_keep_the_configs_palette(root: Path) -> None:
    from mmdet.datasets import CocoDataset

    names = CocoDataset.METAINFO['classes']

    def change(coco: dict) -> None:
        coco['categories'] = [dict(id=i, name=name) for i, name in enumerate(names, 1)]

    for file in ('instances_training.json', 'instances_validation.json'):
        edit(root, change, file)
    cfg = config(root, CASCADE)
    settle_coco(cfg, TRAIN_VAL, 'instances_training.json', 'instances_validation.json')
    assert 'metainfo' not in dataset_specs(cfg, 'train_dataloader')[0] and cfg.num_classes == 80


@pytest.mark.parametrize(
    'given, message',
    [
        (('disk', *SHAPES[1:]), 'only in the config: disk; only in .*instances_training.json: disc; leave metainfo out'),
        (SHAPES[::-1], 'the order differs'),
        (SHAPES[:2], 'only in .*: triangle, star, ring; leave metainfo out .*subset=True'),
    ],
    ids=['typo', 'order', 'part'],
)
def test_a_class_list_by_hand_must_match(root: Path, given, message: str) -> None:
    cfg = config(root)
    for loader in TRAIN_VAL:
        dataset_specs(cfg, loader)[0].metainfo = dict(classes=given)
    with pytest.raises(InputError, match=f'5 in .*: disc, square.*{message}' if len(given) == 5 else message):
        settle_coco(cfg, TRAIN_VAL)


def test_a_part_of_the_classes_when_it_is_meant(root: Path) -> None:
    cfg = config(root)
    for loader in TRAIN_VAL:
        dataset_specs(cfg, loader)[0].metainfo = dict(classes=('disc', 'star'), subset=True)
    settle_coco(cfg, TRAIN_VAL)
    assert cfg.num_classes == 2 and cfg.model.roi_head.mask_head.num_classes == 2


def test_numbers_that_disagree(root: Path) -> None:
    cfg = config(root)
    cfg.model.roi_head.mask_head.num_classes = 7
    with pytest.raises(InputError, match=r'PasteMaskHead.num_classes: expected 5, the classes of .*disc.*; got 7'):
        settle_coco(cfg, TRAIN_VAL)
    for key in ('num_classes', 'model.roi_head.bbox_head.num_classes'):
        with pytest.raises(InputError, match=f'{key}: expected 5, .*got 80'):
            settle_coco(config(root), TRAIN_VAL, overrides={key: 80})
    settle_coco(config(root), TRAIN_VAL, overrides={'num_classes': 5})


def test_a_number_of_things_that_disagrees(root: Path) -> None:
    """As of Mask2Former's heads, whose class weights depend on it: named, never set."""
    cfg = config(root)
    cfg.model.roi_head.mask_head.num_things_classes = 5
    settle_coco(cfg, TRAIN_VAL)
    cfg.model.roi_head.mask_head.num_things_classes = 80
    with pytest.raises(InputError, match='PasteMaskHead.num_things_classes: expected 5, .*; got 80; set it, and class_weight'):
        settle_coco(cfg, TRAIN_VAL)
    with pytest.raises(InputError, match='model.x.num_things_classes: expected 5, .*; got 7'):
        settle_coco(config(root), TRAIN_VAL, overrides={'model.x.num_things_classes': 7})


def test_files_with_other_classes(root: Path) -> None:
    edit(root, lambda coco: coco['categories'][0].update(name='circle'), 'instances_validation.json')
    with pytest.raises(InputError, match='the same classes in all files.*only in .*training.json: disc; only in .*: circle'):
        settle_coco(config(root), TRAIN_VAL)


def test_annotation_options_of_another_kind_of_data(root: Path) -> None:
    cfg = config(root, str(ROOT / 'configs/upernet_convnext_atto_shapes.py'))
    assert settle_coco(cfg, TRAIN_VAL) == []
    with pytest.raises(InputError, match='--train-ann: expected a COCO data set in the config, got ShapesDataset'):
        settle_coco(cfg, TRAIN_VAL, 'a.json')
    with pytest.raises(InputError, match='--train-ann: expected by training alone'):
        settle_coco(config(root), ('test_dataloader',), 'a.json')


def test_things_of_a_panoptic_head(root: Path) -> None:
    for number, fits in ((5, True), (4, False), (80, False)):
        cfg = config(root)
        cfg.model.panoptic_head = dict(type='PanopticHead', num_things_classes=number)
        if fits:
            settle_coco(cfg, TRAIN_VAL)
        else:
            with pytest.raises(InputError, match=f'PanopticHead.num_things_classes: expected 5, .*got {number}; set it'):
                settle_coco(cfg, TRAIN_VAL)
    with pytest.raises(InputError, match='model.panoptic_head.num_things_classes: expected 5, .*got 80; leave it out'):
        settle_coco(config(root), TRAIN_VAL, overrides={'model.panoptic_head.num_things_classes': 80})


def test_the_file_to_validate_on_reaches_the_test_set_too(root: Path) -> None:
    cfg = load_config(SHAPES_COCO, None, str(root))
    settle_coco(cfg, TRAIN_VAL, val_ann='instances_validation.json')
    assert cfg.test_dataloader.dataset.ann_file == 'instances_validation.json'
    assert cfg.test_evaluator.ann_file == str(root / 'instances_validation.json')


def joined(root: Path, *names: str, **fields) -> Config:
    """Training on several files, wrapped, of CocoDataset, which would fall back to COCO's own classes."""
    cfg = load_config(SHAPES_COCO, None, str(root))
    one = dict(cfg.train_dataloader.dataset, type='CocoDataset')
    datasets = [dict(type='RepeatDataset', times=1, dataset=dict(one, ann_file=name)) for name in names]
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=datasets, **fields)
    return cfg


def test_every_part_of_joined_training_sets_is_settled(root: Path) -> None:
    shutil.copy(root / 'instances_training.json', root / 'more.json')
    cfg = joined(root, 'instances_training.json', 'more.json')
    lines = settle_coco(cfg, TRAIN_VAL)
    assert any('classes: 5 from' in line and 'instances_training.json' in line for line in lines)
    assert any('more.json, images in' in line for line in lines)
    for spec in dataset_specs(cfg, 'train_dataloader'):
        assert spec.metainfo.classes == SHAPES and Path(spec.ann_file).is_file()
    assert cfg.val_evaluator.ann_file == str(root / 'instances_validation.json')
    assert cfg.model.roi_head.bbox_head.num_classes == 5
    check_data(cfg, TRAIN_VAL)


def test_joined_files_of_other_classes(root: Path) -> None:
    content = json.loads((root / 'instances_training.json').read_text())
    content['categories'].reverse()
    (root / 'more.json').write_text(json.dumps(content))
    for fields in ({}, dict(ignore_keys=['classes'])):
        with pytest.raises(InputError, match='the same classes in all files, .*training.json.*more.json.*the order differs'):
            settle_coco(joined(root, 'instances_training.json', 'more.json', **fields), TRAIN_VAL)


def test_options_and_evaluators_are_of_one_file(root: Path) -> None:
    cfg = joined(root, 'instances_training.json', 'instances_validation.json')
    with pytest.raises(InputError, match='--train-ann: expected one COCO data set in train_dataloader, got 2; leave it out'):
        settle_coco(cfg, TRAIN_VAL, 'x.json')
    cfg.val_dataloader.dataset = cfg.train_dataloader.dataset
    cfg.val_evaluator.ann_file = str(root / 'instances_validation.json')
    with pytest.raises(InputError, match='val_evaluator.ann_file: expected a file with the images of all 2 data sets'):
        settle_coco(cfg, TRAIN_VAL)
