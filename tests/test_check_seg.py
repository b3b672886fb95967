"""Images and masks of a segmentation set: pairs, suffixes, sizes, values."""

import re

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from convnext_dense import InputError
from convnext_dense.data.check import check_split

SIDE = 32  # the least of a validation image
MASK = (np.arange(SIDE * SIDE) % 3).astype(np.uint8).reshape(SIDE, SIDE)


def write(root, masks, images=None, image_suffix: str = '.jpg', mask_suffix: str = '.png') -> None:
    for folder in ('images', 'masks'):
        (root / folder).mkdir()
    for index, mask in enumerate(masks):
        size = mask.shape[1::-1]
        Image.fromarray(mask).save(root / 'masks' / f'{index}{mask_suffix}')
        image = images[index] if images else Image.new('RGB', size)
        image.save(root / 'images' / f'{index}{image_suffix}')


def found(
    root, name: str = 'train_dataloader', mode: str = 'all', classes=('a', 'b', 'c'), pipeline=(), **dataset
) -> list[str]:
    spec = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=classes),
        pipeline=pipeline,
    )
    return check_split(name, Config({'default_scope': 'mmseg', name: dict(dataset=spec | dataset)}), mode)


def line(root, masks, **arguments) -> str:
    """The one problem of these masks; an empty text for none."""
    write(root, masks)
    lines = found(root, **arguments)
    assert len(lines) <= 1, lines
    return lines[0] if lines else ''


def filled(*values) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (SIDE, SIDE))


def typed(kind, *values) -> np.ndarray:
    return np.resize(np.array(values, kind), (SIDE, SIDE))


@pytest.mark.parametrize(
    'reduced, value, allowed',
    [(False, 2, True), (False, 3, False), (True, 3, True), (True, 4, False)] + [(r, 255, True) for r in (False, True)],
)
def test_values_beyond_the_classes(tmp_path, reduced: bool, value: int, allowed: bool) -> None:
    said = line(tmp_path, [filled(0, 1, 2, value)], reduce_zero_label=reduced)
    last = 3 if reduced else 2
    assert said == ('' if allowed else f'{tmp_path}/masks/0.png has value {value}; expected 0 to {last}, or 255 to ignore')


def test_five_values_are_named(tmp_path) -> None:
    assert 'has value 3, 4, 5, 6, 7; expected' in line(tmp_path, [filled(1, *range(3, 12))])


@pytest.mark.parametrize('reduced', [False, True])
def test_with_a_part_of_the_classes_masks_have_the_numbers_of_all(tmp_path, reduced: bool) -> None:
    last = 150 if reduced else 149
    own = dict(type='ADE20KDataset', classes=('wall', 'sky'), reduce_zero_label=reduced)
    sky = 3 if reduced else 2
    assert line(tmp_path, [filled(1, sky, last)], **own) == ''
    Image.fromarray(filled(1, sky, last + 1)).save(tmp_path / 'masks' / '0.png')
    (said,) = found(tmp_path, **own)
    assert f'has value {last + 1}; expected 0 to {last}' in said
    Image.fromarray(filled(sky + 1)).save(tmp_path / 'masks' / '0.png')
    (said,) = found(tmp_path, **own)
    assert ('write 1, 3 where an object is' if reduced else 'write 2 where an object is') in said


@pytest.mark.parametrize(
    'masks, arguments, words',
    [
        (
            [filled(0, 255)],
            {},
            'than 0, 255: nothing to learn; .* numbers from 0 to 2, .*write 1, 2 in .* by the class of each object$',
        ),
        ([filled(0, 255)] * 2, {}, 'write 1, 2 in place of 255'),
        ([filled(0, 255)], dict(reduce_zero_label=True), '0 to 3, where 0 and 255 are ignored: write 1 to 3 in place of 255'),
        ([filled(0)], {}, 'any other value than 0: .*write 1, 2 where an object is'),
        ([filled(0, 1)], dict(reduce_zero_label=True), None),
        ([filled(255)], {}, 'any other value than 255'),
        ([filled(0)], dict(reduce_zero_label=True), 'write 1 to 3 where an object is'),
        ([filled(0)], dict(classes=('a', 'b', 'c', 'd'), reduce_zero_label=True), 'write 1 to 4 where'),
        ([filled(255)], dict(classes=('a',)), 'expected class numbers from 0 to 0, where 255 is ignored: write 0 in place'),
        ([filled(0, 255)], dict(classes=('a',)), None),  # the one class
        ([filled(0, 1, 255)], dict(classes=('a',), reduce_zero_label=True), None),
        ([filled(0, 255)], dict(classes=('a',), reduce_zero_label=True), 'write 1 in place of 255'),
        ([filled(0, 255), filled(0, 255), filled(0, 1)], {}, None),  # the last has one
        ([filled(0, 2, 255)], {}, None),
        ([filled(1)], {}, None),
        ([filled(0, 2)], dict(reduce_zero_label=True), None),
    ],
)
def test_masks_with_nothing_to_learn(tmp_path, masks, arguments, words: str | None) -> None:
    said = line(tmp_path, masks, **arguments)
    assert (re.search(words, said) and said.startswith(f'{tmp_path}/masks: no mask has')) if words else said == '', said


def test_something_to_learn_outside_the_sample(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr('convnext_dense.data.check.SAMPLE', 2)
    write(tmp_path, [filled(0), filled(1), filled(0)])
    assert found(tmp_path, mode='sample') == []
    (tmp_path / 'masks' / '1.png').write_bytes(b'broken')
    assert 'nothing to learn' in found(tmp_path, mode='sample')[0]


@pytest.mark.parametrize(
    'mask, words',
    [
        (typed(np.float32, 0, 1, 2), None),
        (typed(np.uint16, 0, 1, 2, 255), None),
        (typed(np.uint16, 0, 1, 256), 'has value 256;'),
        (typed(np.int32, 0, 1, -1), 'has value -1;'),
        (typed(np.float32, 0, 1, 1.5), 'has value 1.5; expected 0 to 2'),
        (typed(np.float32, 0, 1, np.nan), 'has value nan;'),
    ],
    ids=['float', '16 bits', '256', 'negative', 'half', 'nan'],
)
def test_numbers_of_other_types(tmp_path, mask, words: str | None) -> None:
    write(tmp_path, [mask], mask_suffix='.tif')
    lines = found(tmp_path, seg_map_suffix='.tif')
    assert (words in lines[0] and len(lines) == 1) if words else lines == []


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_a_palette_is_read_as_the_pipeline_reads_it(tmp_path, backend: str) -> None:
    write(tmp_path, [MASK])
    picture = Image.fromarray(MASK)
    picture.putpalette(list(range(256)) * 3)
    picture.save(tmp_path / 'masks' / '0.png')
    lines = found(tmp_path, pipeline=[dict(type='LoadAnnotations', imdecode_backend=backend)])
    assert [line.partition(' ')[2] for line in lines] == (
        [] if backend == 'pillow' else ['has mode P; expected one channel of class numbers']
    )


def test_a_jpeg_as_mask(tmp_path) -> None:
    write(tmp_path, [MASK], mask_suffix='.jpg')
    (said,) = found(tmp_path, seg_map_suffix='.jpg')
    assert 'masks/0.jpg is a JPEG, whose compression blurs class numbers' in said


@pytest.mark.parametrize(
    'size, name, pipeline, words',
    [
        ((1, 1), 'train_dataloader', (), ['masks/0.png is 1x1; expected at least 2 pixels a side']),
        ((1, 10_000), 'train_dataloader', (), ['is 1x10000; expected at least 2']),
        ((10_000, 2), 'train_dataloader', (), []),
        ((2, 2), 'train_dataloader', (), []),
        ((31, 40), 'train_dataloader', (), []),
        ((31, 40), 'val_dataloader', (), ['images/0.png is 31x40; expected at least 32 pixels a side']),
        ((32, 40), 'val_dataloader', (), []),
        ((40, 32), 'val_dataloader', [dict(type='Resize', scale_factor=0.5)], ['is 40x32, and 16 pixels a side after the Res']),
        ((20, 20), 'val_dataloader', [dict(type='Resize', scale=(64, 64))], []),
        ((2, 10_000), 'train_dataloader', [dict(type='Resize', scale=(512, 64), keep_ratio=True)], ['and 0 pixels a side aft']),
    ],
)
def test_small_and_thin_pictures(tmp_path, size, name: str, pipeline, words: list[str]) -> None:
    write(tmp_path, [np.ones(size[::-1], np.uint8)], image_suffix='.png')
    lines = found(tmp_path, name, img_suffix='.png', pipeline=pipeline)
    assert len(lines) == len(words) and all(word in line for word, line in zip(words, lines)), lines


def test_sizes_that_differ_by_a_turn(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path, [np.ones((32, 40), np.uint8)])
    Image.new('RGB', (40, 32)).save(tmp_path / 'images' / '0.jpg', exif=exif)
    assert found(tmp_path) == [f'{tmp_path}/images/0.jpg is 32x40 but {tmp_path}/masks/0.png is 40x32 (width x height)']


def test_a_decompression_bomb(tmp_path, monkeypatch) -> None:
    write(tmp_path, [MASK])
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    lines = found(tmp_path)
    assert len(lines) == 2 and all('is too large' in line for line in lines)


@pytest.mark.parametrize(
    'written, words',
    [
        (('.png', '.png'), "got no image in {root}/images, found 2 .png: set train_dataloader.dataset.img_suffix='.png' or"),
        (('.JPG', '.png'), "found 2 .JPG: set train_dataloader.dataset.img_suffix='.JPG' or pass --data-root"),
        (('.jpg', '.bmp'), "no mask in {root}/masks, found 2 .bmp: set train_dataloader.dataset.seg_map_suffix='.bmp' or"),
        ((None, '.png'), 'got no image in {root}/images, it is empty: pass --data-root'),
    ],
)
def test_suffixes_other_than_the_configs(tmp_path, written, words: str) -> None:
    write(tmp_path, [MASK] * 2 if written[0] else [], image_suffix=written[0] or '', mask_suffix=written[1])
    (tmp_path / 'images' / '.hidden').touch()
    with pytest.raises(InputError) as caught:
        found(tmp_path)
    assert words.format(root=tmp_path) in str(caught.value)


def test_the_most_frequent_suffix_is_proposed(tmp_path) -> None:
    write(tmp_path, [MASK] * 3, image_suffix='.webp')
    (tmp_path / 'images' / 'README').touch()
    with pytest.raises(InputError, match=r"found 3 \.webp, 1 README: set .*img_suffix='\.webp'"):
        found(tmp_path)


def test_what_is_passed_over_in_silence_is_named(tmp_path) -> None:
    write(tmp_path, [MASK] * 2)
    images = tmp_path / 'images'
    (images / 'folder.jpg').mkdir()
    (images / 'link.jpg').symlink_to(tmp_path / 'nowhere.jpg')
    (images / 'upper.JPG').write_bytes((images / '0.jpg').read_bytes())
    (images / 'notes.txt').touch()
    (images / '._0.jpg').touch()
    expected = {
        f'{images}/folder.jpg is a folder; expected a picture',
        f'{images}/link.jpg is a broken link',
        f'{images}/upper.JPG has another suffix than the .jpg that is read; rename it',
    }
    lines = found(tmp_path)
    assert expected <= set(lines), lines


def test_a_list_of_images(tmp_path) -> None:
    write(tmp_path, [MASK] * 3)
    (tmp_path / 'images' / 'other.JPG').touch()  # not in the list
    (tmp_path / 'list.txt').write_text('0\n1\n')
    assert found(tmp_path, ann_file='list.txt') == []
    (tmp_path / 'images' / '1.jpg').unlink()
    assert found(tmp_path, ann_file='list.txt') == [f'{tmp_path}/images/1.jpg is missing (in the list {tmp_path}/list.txt)']
    for text in ('', '8\n9\n'):
        (tmp_path / 'list.txt').write_text(text)
        with pytest.raises(InputError, match='got no image in'):
            found(tmp_path, ann_file='list.txt')
    (tmp_path / 'list.txt').write_bytes(b'\xff\xfe')
    with pytest.raises(InputError, match='the list of images cannot be read .*check data_root and ann_file'):
        found(tmp_path, ann_file='list.txt')


@pytest.mark.parametrize(
    'dataset, words',
    [
        (dict(data_prefix=dict(img_path='images')), r'expected data_prefix.seg_map_path, a folder, in the data set; got None'),
        (dict(data_prefix=dict(img_path='images', seg_map_path='elsewhere')), 'got no folder .*elsewhere; pass --data-root'),
        (dict(data_prefix=dict(img_path='images', seg_map_path=['masks'])), 'seg_map_path|cannot be built'),
        (dict(metainfo=dict()), 'expected classes, got none from BaseSegDataset; set metainfo'),
        (dict(img_suffix=5), r'expected img_suffix as text, such as .\.png., in the data set; got 5'),
        (dict(seg_map_suffix=None), 'expected seg_map_suffix as text, .*got None'),
        (dict(img_suffix=''), "expected img_suffix as text, .*got ''"),
        (dict(ann_file=5), 'ann_file|cannot be built'),
        (dict(ann_file=None), 'expected ann_file, the path of a list, or none; got None'),
        (dict(data_root='x' * 5000), 'got no folder x'),
        *(
            (dict(reduce_zero_label=v), 'expected reduce_zero_label to be True or')
            for v in (None, 'x', 2, 1.0, float('nan'), [1])
        ),
    ],
)
def test_parts_of_the_config_that_are_none(tmp_path, dataset, words: str) -> None:
    write(tmp_path, [MASK])
    with pytest.raises(InputError, match=words):
        found(tmp_path, **dataset)
