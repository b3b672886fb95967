"""What the names of images and masks say about suffixes and folders."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from convnext_dense import InputError
from convnext_dense.data.check import check_split
from convnext_dense.data.check_names import common_ending, image_hint, mask_hint


def write(root, images, masks) -> Config:
    for folder, names in (('photos', images), ('labels', masks)):
        for name in names:
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.ones((40, 40), np.uint8)
            Image.fromarray(np.stack([values] * 3, -1) if folder == 'photos' else values).save(path)
    prefix = dict(img_path='photos', seg_map_path='labels')
    dataset = dict(type='BaseSegDataset', data_root=str(root), data_prefix=prefix, metainfo=dict(classes=['a', 'b']))
    return Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=dataset | dict(pipeline=[]))))


@pytest.mark.parametrize(
    'images, masks, key, suffix',
    [
        (['a.jpg', 'b.jpg'], ['a_m.png', 'b_m.png'], 'seg_map_suffix', '_m.png'),
        (['1.jpg', '10.jpg', '100.jpg'], ['1_m.png', '10_m.png', '100_m.png'], 'seg_map_suffix', '_m.png'),
        (['x/a.jpg', 'y/b.jpg'], ['x/a.tif', 'y/b.tif'], 'seg_map_suffix', '.tif'),
        (['a.jpg', 'b.jpg'], ['a_m.png', 'b_m.png', 'a.jpg', 'b.jpg'], 'seg_map_suffix', '_m.png'),
        (['a_i.png', 'b_i.png'], ['a.png', 'b.png'], 'img_suffix', '_i.png'),
    ],
)
def test_the_hint_works(tmp_path, images, masks, key: str, suffix: str) -> None:
    cfg = write(tmp_path, images, masks)
    if key == 'seg_map_suffix':
        cfg.train_dataloader.dataset.seg_map_suffix = '.PNG'
    with pytest.raises(InputError, match=rf"set train_dataloader.dataset.{key}='{suffix}' or pass --data-root"):
        check_split('train_dataloader', cfg)
    cfg.train_dataloader.dataset[key] = suffix
    assert check_split('train_dataloader', cfg) == []


def test_folders_that_do_not_belong_together(tmp_path) -> None:
    cfg = write(tmp_path, ['1.jpg', '2.jpg'], ['10.png', '11.png'])
    words = f'found 2 .png, but {tmp_path}/photos and {tmp_path}/labels have no names in common: set data_prefix'
    with pytest.raises(InputError, match=words):
        check_split('train_dataloader', cfg)


def test_no_suffix_of_lossy_masks_is_proposed(tmp_path) -> None:
    cfg = write(tmp_path, ['a.jpg', 'b.jpg'], ['a_m.jpg', 'b_m.jpg'])
    with pytest.raises(
        InputError, match='found 2 .jpg, whose compression blurs class numbers: save the masks as PNG or'
    ) as stop:
        check_split('train_dataloader', cfg)
    assert 'suffix=' not in str(stop.value)


def test_images_listed_elsewhere(tmp_path) -> None:
    cfg = write(tmp_path, ['a.jpg'], ['b.png'])
    (tmp_path / 'list.txt').write_text(f'{tmp_path}/elsewhere\n')
    Image.new('RGB', (40, 40)).save(tmp_path / 'elsewhere.jpg')
    cfg.train_dataloader.dataset.ann_file = 'list.txt'
    with pytest.raises(InputError, match='got no mask in'):
        check_split('train_dataloader', cfg)


def test_endings() -> None:
    assert common_ending(['a', 'b', 'c'], ['a.x', 'b.x', 'c.y']) == '.x'
    assert common_ending(['a', 'b', 'c'], ['a.x']) is None
    assert common_ending(['a'], ['a']) is None and common_ending([], ['a']) is None
    assert image_hint('k', '.jpg', ['a.txt'], []) == 'found 1 .txt:'
    assert image_hint('k', '.jpg', [], []) == mask_hint('k', [], ['a'], ('x', 'y')) == 'it is empty:'
    assert 'other names or folders' in mask_hint('k', ['sub/a.png'], ['a'], ('x', 'y'))
    assert 'no names in common' in mask_hint('k', ['b.npy'], ['a'], ('x', 'y'))
