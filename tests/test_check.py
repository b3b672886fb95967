"""What is wrong with a data set is named with file and value."""

import re

import numpy as np
import pytest
from mmengine.config import Config, ConfigDict
from PIL import Image
from seg_sets import config, image_path, mask_path, problems

from convnext_dense import InputError
from convnext_dense.data.check import SAMPLE, check_data, check_num_classes, check_split
from convnext_dense.data.shapes import CLASSES


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
    with pytest.raises(InputError, match='num_classes: expected 6, the classes of ShapesDataset; got 7; set it to'):
        check_num_classes(cfg, 'train_dataloader')


def test_values_without_reduce_zero_label(root) -> None:
    for value, wrong in ((len(CLASSES) - 1, False), (len(CLASSES), True)):
        mask = np.ones_like(np.array(Image.open(mask_path(root))))
        mask[:2, :2] = value
        Image.fromarray(mask).save(mask_path(root))
        found = [line for line in problems(root, reduce_zero_label=False) if str(mask_path(root)) in line]
        assert found == ([f'{mask_path(root)} has value 6; expected 0 to 5, or 255 to ignore'] if wrong else [])


def masks(root, change) -> None:
    """Change every training mask, an array to an array."""
    for path in (root / 'annotations' / 'training').iterdir():
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


@pytest.mark.parametrize(
    'change, reduced, message',
    [
        (lambda m: np.where(m > 1, 255, 0), True, 'than 0, 255: nothing to learn; .* where 0 and 255 are ignored: write 1'),
        (
            lambda m: np.where(m > 1, 255, 0),
            False,
            r'than 0, 255: .* 0 to 5, where 255 is ignored: write 1 to 5 in place of',
        ),
        (lambda m: np.full_like(m, 255), True, 'than 255: nothing to learn'),
        (lambda m: np.full_like(m, 255), False, 'than 255: nothing to learn'),
        (lambda m: np.zeros_like(m), True, 'than 0: nothing to learn.*write 1 .*where an object is'),
        (lambda m: np.ones_like(m), True, None),
        (lambda m: np.ones_like(m), False, None),
    ],
)
def test_masks_without_a_class_to_learn(root, change, reduced: bool, message: str | None) -> None:
    masks(root, lambda m: change(m).astype(np.uint8))
    found = problems(root, reduce_zero_label=reduced)
    assert not found if message is None else len(found) == 1 and re.search(message, found[0]), found


def test_one_class_and_ignored_pixels_can_be_learnt(root) -> None:
    masks(root, lambda m: np.where(m > 1, 255, 0).astype(np.uint8))
    assert problems(root, kind='BaseSegDataset', metainfo=dict(classes=['thing'])) == []
    (line,) = problems(root, kind='BaseSegDataset', metainfo=dict(classes=['thing']), reduce_zero_label=True)
    assert 'nothing to learn' in line and '0 to 1, where 0 and 255 are ignored: write 1 in place of 255' in line


def test_a_class_beyond_the_sample_is_found(root, monkeypatch) -> None:
    monkeypatch.setattr('convnext_dense.data.check.SAMPLE', 1)
    masks(root, lambda m: np.zeros_like(m))
    assert 'nothing to learn' in check_split('train_dataloader', config(root))[0]
    Image.fromarray(np.full_like(np.array(Image.open(mask_path(root, 2))), 2)).save(mask_path(root, 2))
    assert check_split('train_dataloader', config(root)) == []


def test_a_part_of_the_classes_has_the_numbers_of_all(root) -> None:
    assert problems(root, metainfo=dict(classes=['ground', 'disc'])) == []
    masks(root, lambda m: np.full_like(m, 6))  # a ring, which is none of the two
    assert 'nothing to learn' in problems(root, metainfo=dict(classes=['ground', 'disc']))[0]


def as_float(mask):
    return Image.fromarray(mask.astype(np.float32))


@pytest.mark.parametrize(
    'change, kind, message',
    [
        (as_float, 'TIFF', None),
        (lambda m: as_float(m + 0.5), 'TIFF', 'has value 1.5.*; expected 0 to 6'),
        (lambda m: as_float(np.where(m > 1, np.nan, m)), 'TIFF', 'has value nan; expected 0 to 6'),
        (lambda m: Image.fromarray(m.astype(np.uint16)), 'PNG', None),
        (lambda m: Image.fromarray(m.astype(np.uint16) + 256), 'PNG', 'has value 257'),
        (lambda m: Image.fromarray(-m.astype(np.int32)), 'TIFF', 'has value -'),
        (Image.fromarray, 'JPEG', 'is a JPEG, whose compression blurs class numbers'),
        (Image.fromarray, 'GIF', None),
        (lambda m: Image.fromarray(m > 1), 'PNG', None),
        (lambda m: Image.fromarray(m).convert('LA'), 'PNG', 'has mode LA; expected one channel'),
        (lambda m: Image.fromarray(m).convert('RGBA'), 'PNG', 'has mode RGBA; expected one channel'),
    ],
)
def test_kinds_of_masks(root, change, kind: str, message: str | None) -> None:
    change(np.array(Image.open(mask_path(root)))).save(mask_path(root), kind)
    found = problems(root)
    assert not found if message is None else len(found) == 1 and re.search(f'scene_00001.png {message}', found[0]), found


def test_a_palette_is_read_as_the_loader_reads_it(root) -> None:
    mask = Image.fromarray(np.array(Image.open(mask_path(root))))
    mask.putpalette([9, 200, 30] * 256)
    mask.save(mask_path(root))
    assert problems(root) == []
    loader = dict(type='LoadAnnotations', imdecode_backend='cv2')  # which expands it to colours
    cfg = config(root)
    cfg.train_dataloader.dataset.pipeline = [loader]
    assert 'expected one channel' in check_split('train_dataloader', cfg, mode='all')[0]


@pytest.mark.parametrize(
    'width, height, messages',
    [
        (1, 1, ['expected at least 2 pixels a side']),
        (1, 9000, ['expected at least 2 pixels a side']),
        (9000, 1, ['expected at least 2 pixels a side']),
        (2, 2, []),
        (2, 9000, []),
    ],
)
def test_small_and_long_pictures(root, width: int, height: int, messages: list[str]) -> None:
    Image.new('RGB', (width, height)).save(image_path(root))
    Image.new('L', (width, height), 1).save(mask_path(root))
    found = problems(root)
    assert len(found) == len(messages) and all(message in line for message, line in zip(messages, found)), found


def test_sides_that_validation_needs(root) -> None:
    cfg = config(root)
    cfg.val_dataloader = cfg.train_dataloader
    for side, wrong in ((31, True), (32, False)):
        Image.new('RGB', (side, 64)).save(image_path(root))
        Image.new('L', (side, 64), 1).save(mask_path(root))
        assert bool(check_split('val_dataloader', cfg)) == wrong and not check_split('train_dataloader', cfg)
    Image.new('RGB', (64, 2000)).save(image_path(root))
    Image.new('L', (64, 2000), 1).save(mask_path(root))
    cfg.val_dataloader.dataset.pipeline = [dict(type='Resize', scale=(512, 128), keep_ratio=True)]
    (line,) = check_split('val_dataloader', cfg)
    assert 'is 64x2000, and 16 pixels a side after the Resize in the pipeline; expected at least 32' in line


@pytest.mark.parametrize(
    'step, side',
    [
        (dict(type='Resize', scale=(100, 50), keep_ratio=True), 20),
        (dict(type='mmseg.Resize', scale=(50, 100), keep_ratio=True), 20),
        (dict(type='Resize', scale=(100, 50)), 50),
        (dict(type='Resize', scale_factor=0.52, keep_ratio=True), 21),
        (dict(type='RandomResize', scale=(1000, 50), ratio_range=(0.5, 2.0), keep_ratio=True), 25),
        (dict(type='RandomChoiceResize', scales=[(100, 80), (10, 5)], keep_ratio=True), 2),
        (dict(type='RandomCrop', crop_size=(5, 5)), 40),
        (dict(type='ResizeShortestEdge', scale=3, max_size=9), 40),
    ],
)
def test_the_smallest_side_after_resizing(step, side: int) -> None:
    from convnext_dense.data.pipeline import smallest_side

    assert smallest_side((200, 40), [dict(type='LoadImageFromFile'), [step]]) == side
    assert smallest_side((40, 200), [dict(type='Resize', scale=(4000, 4000), keep_ratio=True), step]) == side or side == 40


def test_files_of_other_kinds(root) -> None:
    image = image_path(root)
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = Image.open(image)
    width, height = opened.size
    cases = [
        (lambda: opened.save(image, exif=exif), f'is {height}x{width} but'),
        (
            lambda: Image.fromarray(np.ones((height, width), np.float32)).save(image, 'TIFF'),
            'is a TIFF of mode F, which OpenCV',
        ),
        (
            lambda: Image.new('RGB', (width, height)).save(
                image, 'GIF', save_all=True, append_images=[Image.new('RGB', (width, height), 'red')]
            ),
            'is a GIF of 2 frames; expected one picture',
        ),
        (lambda: image.write_bytes(b''), 'cannot be read'),
        (lambda: Image.new('1', (13000, 13000)).save(image, 'PNG'), 'is too large .*169000000 pixels.*; cut it into tiles'),
        (lambda: Image.new('1', (20000, 20000)).save(image, 'PNG'), 'is too large .*400000000 pixels.*; cut it into tiles'),
    ]
    for spoil, message in cases:
        spoil()
        (found,) = problems(root)
        assert re.search(f'scene_00001.jpg {message}', found), found
    for kind, mode in (('PNG', 'RGBA'), ('JPEG', 'CMYK'), ('BMP', 'RGB'), ('TIFF', 'RGB')):
        Image.new(mode, (width, height)).save(image, kind)
        assert problems(root) == []


def test_what_the_data_set_would_pass_over(root) -> None:
    folder = root / 'images' / 'training'
    (folder / 'x.jpg').mkdir()
    (folder / 'y.jpg').symlink_to(root / 'nowhere')
    image_path(root).rename(folder / 'scene_00001.JPG')
    image_path(root, 2).rename(folder / 'scene_00002.jpeg')
    Image.new('RGB', (4, 4)).save(folder / 'thumbnail.png')  # has no mask
    (folder / '.hidden.jpg').write_bytes(b'')
    found = problems(root)
    assert [line.removeprefix(f'{folder}/') for line in sorted(found)] == [
        'scene_00001.JPG has another suffix than the .jpg that is read; rename it',
        'scene_00002.jpeg has another suffix than the .jpg that is read; rename it',
        'x.jpg is a folder; expected a picture',
        'y.jpg is a broken link',
    ]
    (root / 'list.txt').write_text('scene_00000\nscene_00009\n')
    (line, _) = problems(root, ann_file=str(root / 'list.txt'))
    assert line == f'{folder}/scene_00009.jpg is missing (in the list {root}/list.txt)'


@pytest.mark.parametrize(
    'which, suffix, message',
    [
        ('images', '.png', r"got no image in .*images/training, found 6 .png: set train_dataloader.dataset.img_suffix='.png'"),
        ('images', '.JPG', r"found 6 .JPG: set train_dataloader.dataset.img_suffix='.JPG'"),
        ('annotations', '.tif', r"got no mask in .*, found 6 .tif: set train_dataloader.dataset.seg_map_suffix='.tif'"),
    ],
)
def test_another_suffix_than_the_configs(root, which: str, suffix: str, message: str) -> None:
    for path in list((root / which / 'training').iterdir()):
        path.rename(path.with_suffix(suffix))
    with pytest.raises(InputError, match=message):
        problems(root)


def test_masks_in_another_folder_than_the_images(root) -> None:
    masks_of = root / 'annotations' / 'training'
    (masks_of / 'sub').mkdir()
    for path in list(masks_of.glob('*.png')):
        path.rename(masks_of / 'sub' / path.name)
    with pytest.raises(InputError, match='got no mask in .*, found 6 .png of other names or folders than the images'):
        problems(root)


def test_the_hint_to_draw_the_set_is_for_a_folder_that_is_not_there(root, tmp_path) -> None:
    with pytest.raises(InputError, match='got no folder .*nowhere.*write it with: convnext-dense shapes DIR'):
        problems(tmp_path / 'nowhere')
    with pytest.raises(InputError, match='got no folder') as caught:
        problems(tmp_path)
    assert 'write it with' not in str(caught.value)


@pytest.mark.parametrize(
    'dataset, message',
    [
        (
            dict(metainfo=dict(classes=['cat', 'dog'])),
            'expected some of the classes that ShapesDataset has itself, got cat, dog; .*Base',
        ),
        (dict(metainfo=dict(classes=['ground', 'ground'])), 'expected different names'),
        (dict(metainfo=dict(classes='ground')), 'expected a list of names'),
        (dict(bogus=1), "cannot be built from this config: .*'bogus'"),
        (dict(img_suffix=5), "expected img_suffix as text, such as '.png', .*got 5"),
        (dict(seg_map_suffix=''), "expected seg_map_suffix as text, such as '.png', .*got ''"),
        (dict(reduce_zero_label='no'), "expected reduce_zero_label to be True or False, got 'no'"),
        (dict(ann_file='nothing.txt'), 'the list of images cannot be read .*nothing.txt'),
        (dict(kind='BaseSegDataset'), 'expected classes, got none from BaseSegDataset'),
        (dict(kind='Nonsense'), 'Nonsense is not in the'),
    ],
)
def test_configs_of_data_sets_that_cannot_be(root, dataset, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        problems(root, **dataset)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    'error', [OSError(5, 'no'), AttributeError('no'), AssertionError(), IndexError('no'), RuntimeError('no')]
)
def test_whatever_a_data_set_raises_is_one_line(root, monkeypatch, error: Exception) -> None:
    def fail(*_, **__):
        raise error

    monkeypatch.setattr('convnext_dense.data.check.DATASETS.build', fail)
    with pytest.raises(
        InputError, match=f'cannot be built from this config: {error.args[0] if error.args else "AssertionError"}'
    ):
        problems(root)


@pytest.mark.parametrize('loader', ['x', dict(dataset='x'), dict(dataset=None), dict(batch_size=1)])
def test_loaders_without_a_data_set(loader) -> None:
    with pytest.raises(InputError, match=r'train_dataloader: expected dict\(dataset='):
        check_split('train_dataloader', Config(dict(train_dataloader=loader)))
    assert check_split('val_dataloader', Config(dict(train_dataloader=loader))) == []


@pytest.mark.parametrize('count', [0, -1, 7, 6.0, '6', True])
def test_numbers_of_classes(root, count) -> None:
    cfg = config(root)
    cfg.model = dict(decode_head=dict(num_classes=6), auxiliary_head=[dict(num_classes=6), dict(num_classes=count)])
    with pytest.raises(InputError, match='model.auxiliary_head.num_classes: expected 6'):
        check_num_classes(cfg, 'train_dataloader')
    cfg.model = dict(decode_head=dict(num_classes=6), auxiliary_head=None)
    check_num_classes(cfg, 'train_dataloader')
