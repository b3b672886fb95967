"""What is wrong with a data set is named with file and value."""

import numpy as np
import pytest
from mmengine.config import Config, ConfigDict
from PIL import Image

from convnext_dense import InputError
from convnext_dense.data.check import SAMPLE, check_data, check_num_classes, check_split
from convnext_dense.data.shapes import CLASSES, write_shapes


@pytest.fixture
def root(tmp_path):
    write_shapes(tmp_path / 'shapes', train=3, val=1)
    return tmp_path / 'shapes'


def config(root, kind: str = 'ShapesDataset', **dataset) -> Config:
    import convnext_dense.data.shapes_seg  # noqa: F401

    prefix = dict(img_path='images/training', seg_map_path='annotations/training')
    loader = dict(dataset=dict(type=kind, data_root=str(root), data_prefix=prefix, pipeline=[], **dataset))
    return Config(dict(default_scope='mmseg', train_dataloader=loader))


def problems(root, **kwargs) -> list[str]:
    return check_split('train_dataloader', config(root, **kwargs), mode='all')


def mask_path(root, index: int = 1):
    return root / 'annotations' / 'training' / f'scene_{index:05d}.png'


def image_path(root, index: int = 1):
    return root / 'images' / 'training' / f'scene_{index:05d}.jpg'


def test_a_sound_set_has_no_problem(root) -> None:
    assert problems(root) == []
    check_data(config(root), ['train_dataloader'])


@pytest.mark.parametrize(
    'value, wrong', [(200, True), (len(CLASSES) + 1, True), (len(CLASSES), False), (0, False), (255, False)]
)
def test_values_outside_the_classes(root, value: int, wrong: bool) -> None:
    mask = np.array(Image.open(mask_path(root)))
    mask[:2, :2] = value
    Image.fromarray(mask).save(mask_path(root))
    found = problems(root)
    assert found == ([f'{mask_path(root)} has value {value}; expected 0 to 6, or 255 to ignore'] if wrong else [])


def test_a_missing_mask(root) -> None:
    mask_path(root).unlink()
    assert problems(root) == [f'{image_path(root)} has no mask {mask_path(root)}']


def test_sizes_that_differ(root) -> None:
    Image.fromarray(np.ones((40, 50), np.uint8)).save(mask_path(root))
    (found,) = problems(root)
    assert f'{mask_path(root)} is 50x40' in found


def test_a_mask_in_colour(root) -> None:
    width, height = Image.open(image_path(root)).size
    Image.fromarray(np.ones((height, width, 3), np.uint8)).save(mask_path(root))
    (found,) = problems(root)
    assert 'has mode RGB; expected one channel' in found


@pytest.mark.parametrize('keep', [0, 30, 700])
@pytest.mark.parametrize('which', [image_path, mask_path])
def test_a_truncated_file(root, which, keep: int) -> None:
    path = which(root)
    path.write_bytes(path.read_bytes()[: min(keep, path.stat().st_size - 20)])
    (found,) = problems(root)
    assert found.startswith(f'{path} cannot be read')


def test_all_problems_are_counted_and_three_named(root) -> None:
    for index in range(3):
        mask_path(root, index).write_bytes(b'no png')
    with pytest.raises(InputError, match=r'data: 3 problems: .*00000.*00001.*00002'):
        check_data(config(root), ['train_dataloader'])
    check_data(config(root), ['train_dataloader'], 'off')
    with pytest.raises(InputError, match='got no folder'):
        check_data(config(root / 'elsewhere'), ['train_dataloader'], 'off')


def test_a_sample_is_bounded_and_all_reads_all(tmp_path) -> None:
    count = 2 * SAMPLE + 3
    for folder in ('images', 'annotations'):
        (tmp_path / folder / 'training').mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.ones((4, 4), np.uint8)).save(image_path(tmp_path, index))
        Image.fromarray(np.full((4, 4), 99, np.uint8)).save(mask_path(tmp_path, index))
    assert len(check_split('train_dataloader', config(tmp_path))) == SAMPLE
    assert len(problems(tmp_path)) == count


def test_a_folder_without_the_tree_tells_the_tree_and_the_source(tmp_path) -> None:
    with pytest.raises(
        InputError, match=r'images/training/\*.jpg, .*annotations/training/\*.png; got no folder .*ADEChallenge'
    ):
        check_data(config(tmp_path, kind='ADE20KDataset'), ['train_dataloader'])


def test_a_folder_without_images(root) -> None:
    for path in (root / 'images' / 'training').iterdir():
        path.unlink()
    with pytest.raises(InputError, match='got no image in'):
        problems(root)


def test_wrapped_data_sets_are_looked_into(root) -> None:
    cfg = config(root)
    cfg.train_dataloader.dataset = ConfigDict(type='RepeatDataset', times=3, dataset=cfg.train_dataloader.dataset)
    mask_path(root).unlink()
    assert len(check_split('train_dataloader', cfg)) == 1


def test_a_head_with_another_number_of_classes(root) -> None:
    cfg = config(root)
    cfg.model = dict(decode_head=dict(num_classes=7))
    with pytest.raises(InputError, match='num_classes: expected 6, the classes of ShapesDataset; got 7'):
        check_num_classes(cfg, 'train_dataloader')
