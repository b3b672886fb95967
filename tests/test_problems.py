"""Problems of annotated pictures: each kind, its level, and the picture and place it has."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from layout_sets import CLASSES, One, coco_content, painted, toy, write_coco, write_indices
from PIL import Image

from convnext_dense.data.layouts.found import Faults
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.data.layouts.split import split
from convnext_dense.report.problems import ERROR, WARNING, Problem, problems
from convnext_dense.report.survey import survey


def found_in(root: Path, masks: bool = False) -> list[Problem]:
    found = read_folder(str(root), faults=Faults(collect=True))
    parts, _ = split(found)
    pictures = [picture for several in parts.values() for picture in several]
    rows = survey(found, pictures, masks)
    return problems(found, parts, {picture.name: seen for picture, seen in zip(pictures, rows)})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_coco(tmp_path / 'data', toy(tmp_path / 'toy'))
    return tmp_path / 'data'


def edit(root: Path, change) -> None:
    content = json.loads((root / 'train.json').read_text())
    change(content)
    (root / 'train.json').write_text(json.dumps(content))


def test_nothing_is_wrong(root: Path) -> None:
    assert found_in(root) == []


@pytest.mark.parametrize(
    ('box', 'kind', 'level'),
    [
        ([5, 5, 0, 10], 'boxes of no area', ERROR),
        ([5, 5, 90, 10], 'boxes outside', ERROR),
        ([-3, 5, 20, 10], 'boxes outside', ERROR),
        ([5, 5, 2, 30], 'tiny boxes', WARNING),
        ([0, 0, 80, 60], 'full-frame boxes', WARNING),
    ],
)
def test_boxes(root: Path, box: list, kind: str, level: str) -> None:
    def change(content: dict) -> None:
        content['annotations'][1].update(bbox=box)
        content['annotations'][1].pop('segmentation')

    edit(root, change)
    (one,) = found_in(root)
    assert (one.kind, one.level) == (kind, level) and one.picture.name == 'images/p0.jpg' and 'fig at' in one.text
    assert one.box == (box[0], box[1], box[0] + box[2], box[1] + box[3])


def test_sizes_and_broken_files(root: Path) -> None:
    edit(root, lambda content: content['images'][0].update(width=70))
    (root / 'images/p2.jpg').write_bytes((root / 'images/p2.jpg').read_bytes()[:500])
    kinds = {one.kind: one for one in found_in(root)}
    assert {*kinds} == {'other size', 'unreadable'} and all(one.level == ERROR for one in kinds.values())
    assert kinds['other size'].text == 'images/p0.jpg has 80x60 pixels, where its annotation says 70x60'


def test_twins(tmp_path: Path) -> None:
    parts = toy(tmp_path / 'toy')
    first, other = parts['train'][0], parts['train'][1]
    for name, split_name in (('same.jpg', 'train'), ('leak.jpg', 'val')):
        path = Path(shutil.copy(first.path, tmp_path / 'toy' / name))
        parts[split_name].append(One(path, first.size, first.polygons))
    shades = np.random.default_rng(1).integers(0, 256, (6, 8), dtype=np.uint8)
    Image.fromarray(shades).resize((80, 60), Image.Resampling.BICUBIC).convert('RGB').save(other.path)
    path = tmp_path / 'toy/alike.jpg'
    Image.open(other.path).save(path, quality=70)
    parts['val'].append(One(path, other.size, other.polygons))
    write_coco(tmp_path / 'data', parts)
    texts = {(one.kind, one.text) for one in found_in(tmp_path / 'data')}
    assert texts == {
        ('duplicates', 'images/p0.jpg of train and images/same.jpg of train are the same file'),
        ('leaks', 'images/same.jpg of train and images/leak.jpg of val are the same file'),
        ('leaks', 'images/p1.jpg of train and images/alike.jpg of val look the same'),
    }


def test_classes_that_are_nowhere_or_not_learnt(tmp_path: Path) -> None:
    parts = toy(tmp_path / 'toy')
    parts['train'] = [one._replace(polygons=one.polygons[:2]) for one in parts['train']]
    write_coco(tmp_path / 'data', parts)
    for name in ('train', 'val'):
        path = tmp_path / f'data/{name}.json'
        path.write_text(json.dumps(coco_content(parts[name], (*CLASSES, 'plum'))))
    texts = [one.text for one in found_in(tmp_path / 'data')]
    assert texts == ['hazelnut is in val, but not in train', 'nothing is annotated as plum']


def test_masks(tmp_path: Path) -> None:
    scenes = painted(toy(tmp_path / 'toy'))
    write_indices(tmp_path / 'data', scenes, ('building', 'sky', 'tree'))
    mask = np.array(scenes['train'][0].mask)
    mask[55:57, 10:60] = 2
    mask[0, 0] = 9
    Image.fromarray(mask).save(tmp_path / 'data/masks/train/p0.png')
    wrong, sliver = found_in(tmp_path / 'data', masks=True)
    assert wrong.level == ERROR and 'p0.png has the value 9' in wrong.text and wrong.picture.path.stem == 'p0'
    assert sliver.level == WARNING and sliver.box == (10, 55, 60, 57) and 'such as 100 pixels of sky' in sliver.text
