"""COCO files: found, read, checked; their classes in every head."""

import json
import shutil
from pathlib import Path

import pytest
from coco_sets import TRAIN_VAL, annotation, config, edit, problems, repeat
from conftest import SHAPES_COCO
from PIL import Image

from convnext_dense import InputError
from convnext_dense.data.check import SAMPLE, check_split
from convnext_dense.data.check_coco import coco_problems, left_out
from convnext_dense.data.coco import _present, class_names, find_annotations, find_images, read_coco
from convnext_dense.data.shapes import SHAPES
from convnext_dense.run.classes import dataset_specs, settle_coco
from convnext_dense.run.options import load_config


def test_a_sound_set_has_no_problem(root: Path) -> None:
    assert problems(root) == []
    assert left_out(root / 'instances_training.json', keeps_empty=False) is None


@pytest.mark.parametrize(
    'change, message',
    [
        (annotation(category_id=99), 'category id 99 of 1 annotations is not in the list of categories (1, 2, 3, 4, 5)'),
        (annotation(segmentation=[[1, 2, 3, 4]]), 'has a polygon of 4 numbers; expected x, y of three points or more'),
        (annotation(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), 'has a polygon of 7 numbers'),
        (annotation(segmentation=[]), 'has no segmentation'),
        (annotation(segmentation=dict(size=[3, 4], counts='0')), 'has a run-length mask of size [3, 4]; expected ['),
        (annotation(bbox=[500, 10, 40, 40]), 'has bbox [500, 10, 40, 40] outside its image of'),
        (annotation(bbox=[-30, 10, 40, 40]), 'has bbox [-30, 10, 40, 40] outside its image of'),
        (annotation(bbox=[60, 50, -20, 10]), 'with a negative side; expected [x, y, width, height]'),
        (annotation(bbox=[1, 2, 3]), 'has bbox [1, 2, 3]; expected [x, y, width, height]'),
        (annotation(bbox=[1, 2, 3, float('nan')]), 'has bbox [1, 2, 3, nan]'),
        (annotation(area=None), 'has no area'),
        (annotation(image_id=77), 'is of image 77, which is not in the list of images'),
        (repeat('annotations'), 'annotations with the same id: 1'),
        (repeat('images'), 'images with the same id: 1'),
        (repeat('categories', name='disk'), 'categories with the same id: 1'),
        (repeat('categories', id=9), 'categories with the same name: disc'),
        (lambda coco: coco['images'][1].pop('width'), 'image 2 (scene_00001.jpg) has no width and height'),
        (lambda coco: coco['images'][1].update(width=4), 'but the annotation file says 4x'),
    ],
)
def test_what_is_wrong_is_named(root: Path, change, message: str) -> None:
    edit(root, change)
    found = problems(root)
    assert any(message in line for line in found), found
    assert all('instances_training.json' in line or 'scene_' in line for line in found)


def test_files_that_are_missing_or_broken(root: Path) -> None:
    images = root / 'images' / 'training'
    (images / 'scene_00001.jpg').unlink()
    (images / 'scene_00002.jpg').write_bytes((images / 'scene_00002.jpg').read_bytes()[:900])
    missing, broken = problems(root)
    assert 'image 2 is missing' in missing and 'scene_00001.jpg' in missing
    assert 'scene_00002.jpg cannot be read' in broken


def test_an_image_turned_by_its_exif(root: Path) -> None:
    path = root / 'images' / 'training' / 'scene_00001.jpg'
    image = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    (line,) = problems(root)
    assert '(EXIF orientation 6 is applied on reading), but the annotation file says' in line
    width, height = image.size
    edit(root, lambda coco: coco['images'][1].update(width=height, height=width))
    edit(root, lambda coco: coco.update(annotations=[a for a in coco['annotations'] if a['image_id'] != 2]))
    assert problems(root) == [], 'annotated as it is read'


def test_a_sample_of_images_is_opened_but_every_file_must_be_there(tmp_path) -> None:
    count = 2 * SAMPLE + 3
    images = [dict(id=i, file_name=f'{i}.png', width=9, height=9) for i in range(count)]
    (tmp_path / 'a.json').write_text(json.dumps(dict(images=images, annotations=[], categories=[dict(id=1, name='x')])))
    for i in range(count - 1):
        Image.new('L', (8, 8)).save(tmp_path / f'{i}.png')
    lines = list(coco_problems(tmp_path / 'a.json', tmp_path, with_masks=False, sample=SAMPLE))
    assert len(lines) == SAMPLE + 1 and 'is missing' in lines[0]


def test_what_training_leaves_out_is_said(root: Path) -> None:
    def change(coco: dict) -> None:
        coco['annotations'][0].update(bbox=[5, 5, 0, 0], area=0)
        coco['annotations'][1].update(iscrowd=1)
        coco['images'].append(dict(id=99, file_name='scene_00000.jpg', width=1, height=1))

    path = edit(root, change)
    line = left_out(path, keeps_empty=False)
    assert '1 objects of less than a pixel' in line and '1 crowds' in line and '1 images without objects' in line
    assert 'images without' not in left_out(path, keeps_empty=True)


@pytest.mark.parametrize(
    'text, message',
    [
        ('no json', 'expected COCO JSON'),
        ('[1, 2]', 'with list, where images is not a list'),
        ('{"image": []}', r"with \['image'\], where images is not"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', 'images is not a list of dicts with id and file_name'),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [], "categories": []}', 'with categories, got none'),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', 'with images, got none'),
    ],
)
def test_a_file_that_is_no_coco_file(tmp_path, text: str, message: str) -> None:
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(InputError, match=message):
        read_coco(tmp_path / 'a.json')


def test_where_files_are_looked_for(root: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_annotations(str(root), 'instances_training.json') == root / 'instances_training.json'
    assert find_annotations('elsewhere', 'shapes/instances_training.json') == root / 'instances_training.json'
    with pytest.raises(InputError, match=r'looked for .*shapes/nothing.json and nothing.json; pass --data-root'):
        find_annotations(str(root), 'nothing.json')
    annotations = root / 'instances_training.json'
    coco = read_coco(annotations)
    assert find_images(str(root), annotations, 'images/training', coco) == root / 'images' / 'training'
    assert find_images(str(root), annotations, 'train2017', coco) == root / 'images' / 'training', 'by the file name'
    (root / 'images' / 'training').rename(root / 'photos')
    assert find_images(str(root), annotations, 'train2017', coco) == root / 'photos', 'any folder below'
    shutil.copytree(root / 'photos', root / 'copies')
    with pytest.raises(InputError, match='expected one folder with the images .*, found .*copies and .*photos; set'):
        find_images(str(root), annotations, 'train2017', coco)
    for path in (root / 'copies').iterdir():
        Image.new('L', (7, 7)).save(path)
    assert find_images(str(root), annotations, 'train2017', coco) == root / 'photos', 'the same names, other sizes'
    shutil.rmtree(root / 'copies')
    (root / 'photos' / 'scene_00001.jpg').unlink()
    assert find_images(str(root), annotations, 'train2017', coco) == root / 'photos', 'one is missing'
    shutil.rmtree(root / 'photos')
    (root / 'images' / 'validation').rename(tmp_path / 'validation')
    with pytest.raises(InputError, match='expected the images of .*such as scene_00000.jpg.*found none'):
        find_images(str(root), annotations, 'train2017', coco)


@pytest.mark.parametrize(
    'fields, message',
    [
        (dict(ann_file=5), 'ann_file: expected a path as text .* got 5'),
        (dict(ann_file=''), 'ann_file: expected a path'),
        (dict(data_root=[1]), r'data_root: expected a path .* got \[1\]'),
        (dict(data_prefix='x'), r"data_prefix: expected dict\(img='FOLDER'\), got 'x'"),
        (dict(data_prefix=dict(img=5)), 'data_prefix.img: expected a path'),
        (dict(metainfo=dict(classes='disc')), "metainfo.classes: expected a list of names, got 'disc'"),
        (dict(filter_cfg='x'), 'filter_cfg: expected'),
    ],
)
def test_data_sets_that_cannot_be(root: Path, fields: dict, message: str) -> None:
    cfg = config(root)
    dict.update(dataset_specs(cfg, 'train_dataloader')[0], fields)
    with pytest.raises(InputError, match=message):
        settle_coco(cfg, TRAIN_VAL)


def test_classes_of_the_same_name(root: Path) -> None:
    for name in ('instances_training.json', 'instances_validation.json'):
        edit(root, lambda coco: coco['categories'][1].update(name='disc'), name)
    with pytest.raises(InputError, match='categories of different names, got in .*training.json more than once: disc'):
        settle_coco(config(root), TRAIN_VAL)


@pytest.mark.parametrize(
    'gone, counted', [((), 6), ((0,), 5), ((-1,), 5), ((2,), 5), ((0, -1), 0)], ids=['none', 'first', 'last', 'another', 'both']
)
def test_images_are_counted_where_the_first_or_the_last_is(root: Path, gone: tuple[int, ...], counted: int) -> None:
    images = read_coco(root / 'instances_training.json')['images']
    for at in gone:
        (root / 'images' / 'training' / images[at]['file_name']).unlink()
    assert _present(root / 'images' / 'training', images) == counted


def test_folders_that_cannot_be_read(root: Path, monkeypatch) -> None:
    annotations = root / 'instances_training.json'
    coco = read_coco(annotations)
    (root / 'loop').symlink_to(root / 'loop')

    def fail(self):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'iterdir', fail)
    assert find_images(str(root), annotations, 'images/training', coco) == root / 'images' / 'training'
    with pytest.raises(InputError, match='found none'):
        find_images(str(root / 'loop'), root / 'loop' / 'a.json', 'train2017', coco)


def test_a_file_without_annotations_is_one_of_images_alone(root: Path) -> None:
    edit(root, lambda coco: coco.pop('annotations'))
    assert read_coco(root / 'instances_training.json')['annotations'] == []
    cfg = config(root)
    settle_coco(cfg, TRAIN_VAL)
    (line,) = check_split('train_dataloader', cfg)
    assert 'no image is left to train on: of 6' in line
    edit(root, lambda coco: coco.pop('annotations'), 'instances_validation.json')
    (line,) = check_split('val_dataloader', cfg)
    assert 'no object is annotated' in line
    cfg.val_evaluator.format_only = True
    assert check_split('val_dataloader', cfg) == []


def test_masks_are_checked_where_training_needs_them(root: Path) -> None:
    edit(root, lambda coco: coco['annotations'][0].update(segmentation='x'))
    cfg = config(root)
    settle_coco(cfg, TRAIN_VAL)
    assert len(check_split('train_dataloader', cfg)) == 1
    for step in dataset_specs(cfg, 'train_dataloader')[0].pipeline:
        step.pop('with_mask', None)
    assert check_split('train_dataloader', cfg) == []


def test_folders_with_images_of_the_same_names_are_told_apart_by_their_sizes(root: Path) -> None:
    annotations = root / 'instances_training.json'
    coco = read_coco(annotations)
    (root / 'images' / 'training').rename(root / 'photos')
    shutil.copytree(root / 'photos', root / 'copies')
    Image.new('L', (7, 7)).save(root / 'copies' / coco['images'][3]['file_name'])
    assert find_images(str(root), annotations, 'train2017', coco) == root / 'photos', 'one is of another size'
    first = coco['images'][0]
    Image.new('L', (first['height'], first['width'])).save(root / 'photos' / first['file_name'])
    assert find_images(str(root), annotations, 'train2017', coco) == root / 'photos', 'turned, as by its EXIF'
    (root / 'photos' / first['file_name']).write_bytes(b'broken')
    with pytest.raises(InputError, match='expected one folder with the images'):
        find_images(str(root), annotations, 'train2017', coco)


def test_masks_are_checked_where_the_evaluation_needs_them(root: Path) -> None:
    edit(root, lambda coco: coco['annotations'][0].update(segmentation='x'), 'instances_validation.json')
    cfg = config(root)
    settle_coco(cfg, TRAIN_VAL)
    spec = dataset_specs(cfg, 'val_dataloader')[0]
    spec.pipeline = [step for step in spec.pipeline if step['type'] != 'LoadAnnotations']
    for evaluator, wrong in (
        (dict(type='CocoStatsMetric'), True),
        (dict(type='CocoStatsMetric', metric='bbox'), False),
        ([dict(type='CocoMetric', metric=['bbox', 'segm'])], True),
        (dict(type='CocoMetric', metric='bbox'), False),
    ):
        cfg.val_evaluator = evaluator
        assert len(check_split('val_dataloader', cfg)) == wrong, evaluator


def test_a_picture_of_which_resizing_leaves_nothing(root: Path) -> None:
    Image.new('RGB', (9000, 1)).save(root / 'images' / 'validation' / 'scene_00000.jpg')

    def change(coco: dict) -> None:
        coco['images'][0].update(width=9000, height=1)
        coco['annotations'] = [item for item in coco['annotations'] if item['image_id'] != 1]

    edit(root, change, 'instances_validation.json')
    cfg = config(root)
    settle_coco(cfg, TRAIN_VAL)
    (line,) = check_split('val_dataloader', cfg)
    assert 'scene_00000.jpg is 9000x1, of which the Resize in the pipeline would leave no pixel' in line


def test_names_are_in_the_files_order(root: Path) -> None:
    assert class_names(read_coco(root / 'instances_training.json')) == SHAPES


def test_images_are_looked_for_in_the_given_folder_before_that_of_the_annotations(root: Path, tmp_path) -> None:
    elsewhere = tmp_path / 'elsewhere' / 'annotations.json'
    elsewhere.parent.mkdir()
    shutil.copy(root / 'instances_training.json', elsewhere)
    coco = read_coco(elsewhere)
    assert find_images(str(root), elsewhere, 'images/training', coco) == root / 'images' / 'training'


def test_the_check_of_a_split_opens_a_sample_or_all(root: Path, monkeypatch) -> None:
    monkeypatch.setattr('convnext_dense.data.check.SAMPLE', 2)
    for path in sorted((root / 'images' / 'training').iterdir()):
        Image.new('RGB', (8, 8)).save(path)
    cfg = load_config(SHAPES_COCO, None, str(root))
    settle_coco(cfg, TRAIN_VAL)
    assert [len(check_split('train_dataloader', cfg, mode)) for mode in ('sample', 'all')] == [2, 6]
