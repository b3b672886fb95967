"""Folders of masks: which belong to which pictures, and what their values mean."""

from pathlib import Path

import numpy as np
import pytest
from mask_sets import write
from models import write_photograph
from PIL import Image

from convnext_dense.data.layouts.found import IGNORE
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError


def test_jpeg_masks(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    (tmp_path / 'masks/a.png').unlink()
    write_photograph(tmp_path / 'masks/a.jpg', 40, 60)
    with pytest.raises(InputError, match='is a JPEG, whose compression changes the values'):
        read_folder(str(tmp_path))


def test_pictures_without_masks(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    for stem in 'bcd':
        write(tmp_path, 0, 1, stem=stem)
    (tmp_path / 'masks/b.png').rename(tmp_path / 'masks/z.png')
    found = read_folder(str(tmp_path))
    assert [picture.path.stem for picture in found.pictures] == ['a', 'c', 'd']
    assert found.notes[:2] == [
        '1 pictures without a mask are left out, such as b.png',
        '1 masks without a picture are left out, such as z.png',
    ]
    for stem in 'cd':
        (tmp_path / f'masks/{stem}.png').unlink()
    with pytest.raises(InputError, match=r'1 of 4 pictures in .*images have a mask in .*masks, b.png has none'):
        read_folder(str(tmp_path))


def test_names_that_differ_in_case(tmp_path: Path) -> None:
    for stem in 'abc':
        write(tmp_path, 0, 1, stem=stem)
    (tmp_path / 'masks/b.png').rename(tmp_path / 'masks/B.png')
    with pytest.raises(InputError, match=r'images/b.png and a mask in .* differ in case alone \(1 pictures\)'):
        read_folder(str(tmp_path))


@pytest.mark.parametrize('by_train_id', [True, False])
def test_cityscapes(tmp_path: Path, by_train_id: bool) -> None:
    for split in ('train', 'val'):
        write_photograph(tmp_path / f'leftImg8bit/{split}/bonn/bonn_1_leftImg8bit.png', 20, 30)
        (tmp_path / f'gtFine/{split}/bonn').mkdir(parents=True)
        name = 'labelTrainIds' if by_train_id else 'labelIds'
        mask = np.full((20, 30), 13 if by_train_id else 26, np.uint8)
        Image.fromarray(mask).save(tmp_path / f'gtFine/{split}/bonn/bonn_1_gtFine_{name}.png')
    found = read_folder(str(tmp_path))
    assert found.layout == 'Cityscapes' and len(found.classes) == 19 and [p.split for p in found.pictures] == ['train', 'val']
    assert found.classes[found.values.classes[13 if by_train_id else 26]] == 'car'
    assert found.values.classes[255] == IGNORE


@pytest.mark.parametrize(
    ('images', 'masks', 'ending'),
    [
        ('train', 'train_labels', '_L.png'),
        ('train', 'trainannot', '.png'),
        ('train_images', 'train_masks', '_mask.gif'),
        ('img_dir/train', 'ann_dir/train', '.png'),
        ('photos', 'annot', '.png'),
        ('all', 'all', '.png'),
    ],
)
def test_folders_of_other_names(tmp_path: Path, images: str, masks: str, ending: str) -> None:
    for stem in 'abc':
        write_photograph(tmp_path / images / f'{stem}.jpg', 40, 60)
        (tmp_path / masks).mkdir(parents=True, exist_ok=True)
        mask = np.zeros((40, 60), np.uint8)
        mask[5:20] = 1
        Image.fromarray(mask).save(tmp_path / masks / f'{stem}{ending}')
    (tmp_path / 'notes.txt').touch()
    found = read_folder(str(tmp_path))
    assert len(found.pictures) == 3 and found.classes == ('class 0', 'class 1')


def test_masks_of_no_picture(tmp_path: Path) -> None:
    write(tmp_path, 0, 1, stem='a')
    (tmp_path / 'masks/a.png').rename(tmp_path / 'masks/other.png')
    with pytest.raises(InputError, match='0 of 1 pictures in .* have a mask'):
        read_folder(str(tmp_path))
