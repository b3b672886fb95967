"""What is wrong with a data set is named with file and value."""

import numpy as np
import pytest
from conftest import ROOT, SHAPES, one_line
from mmengine.config import Config, ConfigDict
from PIL import Image

from convnext_dense import InputError
from convnext_dense.data.check import SAMPLE, check_data, check_num_classes, check_split, data_classes
from convnext_dense.data.shapes import CLASSES, write_shapes
from convnext_dense.tooling.coco import settle_coco


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


@pytest.mark.parametrize('part', ['decode_head', 'auxiliary_head'])
@pytest.mark.parametrize(
    'head, got',
    [
        (dict(num_classes=6), None),
        ([dict(num_classes=6), dict(num_classes=6)], None),
        ([dict(num_classes=6), dict(num_classes=5)], '5'),
        (dict(num_classes=6.0), '6.0'),
        (dict(num_classes='6'), "'6'"),
        (dict(num_classes=True), 'True'),
        (dict(channels=7), None),
        (None, None),
        ('head', None),
        ('no model', None),
    ],
)
def test_heads_of_every_kind(root, part: str, head, got: str | None) -> None:
    cfg = config(root)
    cfg.model = {part: head} if head != 'no model' else 5
    if got is None:
        check_num_classes(cfg, 'train_dataloader')
    else:
        with pytest.raises(InputError, match=f'model.{part}.num_classes: expected 6, .*; got {got}$'):
            check_num_classes(cfg, 'train_dataloader')


def test_the_classes_of_the_data(root) -> None:
    assert data_classes(config(root), 'train_dataloader') == CLASSES
    assert data_classes(config(root, metainfo=dict(classes=('disc', 'ring'))), 'train_dataloader') == ('disc', 'ring')


@pytest.mark.parametrize(
    'dataset, message',
    [
        (
            dict(metainfo=dict(classes=('disc', 'wolf'))),
            'expected some of the classes that ShapesDataset has .* got disc, wolf',
        ),
        (dict(metainfo=dict(classes='disc')), "metainfo.classes: expected a list of names, got 'disc'"),
        (dict(kind='ShapeDataset'), 'the data set cannot be built from this config: .*ShapeDataset'),
        (dict(kind=''), 'cannot be built from this config'),
        (dict(kind='NoDataset'), 'cannot be built from this config'),
        (dict(no_such_key=3), 'cannot be built from this config: .*no_such_key'),
    ],
)
def test_data_sets_that_cannot_be_built(root, dataset: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        settle_coco(config(root, **dataset), ('train_dataloader',))
        problems(root, **dataset)


@pytest.mark.parametrize(
    'loader', [5, 'shapes', [dict(dataset=dict())], dict(batch_size=2), dict(dataset=[1]), dict(dataset=None)]
)
def test_loaders_without_a_data_set(loader) -> None:
    cfg = Config(dict(train_dataloader=loader))
    for check in (check_split, check_num_classes):
        with pytest.raises(InputError, match=r'train_dataloader: expected dict\(dataset=dict\(type=...\), ...\), got'):
            check(cfg, 'train_dataloader') if check is check_num_classes else check('train_dataloader', cfg)


@pytest.mark.parametrize('inner', [None, 5, [1], 'x'])
def test_wrappers_of_no_data_set(root, inner) -> None:
    cfg = config(root)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=inner)
    with pytest.raises(InputError, match=r'train_dataloader.dataset: expected dict\(type=...\) in the innermost, got'):
        check_split('train_dataloader', cfg)


@pytest.mark.parametrize('loader', [None, dict()])
def test_no_loader_is_no_problem(loader) -> None:
    cfg = Config(dict(train_dataloader=loader))
    assert check_split('train_dataloader', cfg) == [] and check_split('val_dataloader', cfg) == []
    check_num_classes(cfg, 'train_dataloader')


@pytest.mark.parametrize('count', [1, 3, 4, 5])
def test_how_problems_are_counted(tmp_path, count: int) -> None:
    write_shapes(tmp_path / 'shapes', train=count + 1, val=1)
    for index in range(count):
        mask_path(tmp_path / 'shapes', index).unlink()
    with pytest.raises(InputError) as caught:
        check_data(config(tmp_path / 'shapes'), ['train_dataloader'])
    message = str(caught.value)
    assert message.startswith(f'data: {count} problem{"s" if count > 1 else ""}: ') and message.count('has no mask') == min(
        count, 3
    )
    assert message.endswith(
        (f'; and {count - 3} more (tools/check_data.py lists all)' if count > 3 else '') + '; mend or remove these files'
    )


def test_the_tool_lists_all(root, tool) -> None:
    assert tool('check_data', SHAPES, '--data-root', str(root)) == (0, '')
    for index in range(3):
        mask_path(root, index).write_bytes(b'no png')
    status, err = tool('check_data', SHAPES, '--data-root', str(root))
    assert (status, err) == (1, '')


def test_the_tool_takes_what_the_config_has(root, tool) -> None:
    """One of the two splits is enough; none is not."""
    nothing = str(ROOT / 'configs/_base_/models/upernet_convnext.py')
    one_line(
        *tool('check_data', nothing), 'upernet_convnext.py: expected train_dataloader or val_dataloader, got neither; name'
    )
    args = ['check_data', SHAPES, '--data-root', str(root), '--cfg-options']
    assert tool(*args, 'train_dataloader=None')[0] == tool(*args, 'val_dataloader=None')[0] == 0
    one_line(*tool(*args, 'train_dataloader=None', 'val_dataloader=None'), 'got neither')
