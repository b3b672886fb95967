"""--data through the commands: any layout trains, is tested and predicts; what does not fit is one line and leaves nothing."""

import json
import re
from pathlib import Path

import pytest
from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool, one_line
from layout_sets import CLASSES, IGNORED, MASKS, OBJECTS, Parts, coco_content, painted, toy, write_coco, write_yolo
from mmengine.config import Config

from convnext_dense.predict.loading import load_model

TREES = ('building', 'sky', 'tree')
SEG = [*QUICK, 'train_cfg.max_iters=1', 'train_cfg.val_interval=1', 'param_scheduler=[]']
DET = [*QUICK, 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'param_scheduler=[]']


@pytest.fixture(scope='module')
def parts(tmp_path_factory) -> Parts:
    return toy(tmp_path_factory.mktemp('toy'), size=(120, 100))


def train(config: str, data: Path, work: Path, *args: str, options: list[str] | None = None):
    options = options or (SEG if config == SHAPES else DET)
    return call_tool(
        'train', config, '--data', str(data), '--work-dir', str(work), '--seed', '0', *args, '--cfg-options', *options
    )


def first_loss(done, work: Path) -> str:
    assert done.returncode == 0, done.stderr
    log = next(work.glob('*/*.log')).read_text()
    return re.search(r' loss: [0-9.]+ .*', log)[0]


@pytest.mark.slow
@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO])
def test_the_same_first_loss_from_every_layout_of_objects(config: str, parts: Parts, tmp_path: Path) -> None:
    losses = {}
    for name, write in OBJECTS.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, parts)
        losses[name] = first_loss(train(config, tmp_path / name, tmp_path / f'{name}_work'), tmp_path / f'{name}_work')
    assert len(set(losses.values())) == 1, losses


@pytest.mark.slow
def test_the_same_first_loss_from_every_layout_of_masks(parts: Parts, tmp_path: Path) -> None:
    losses = {}
    for name, write in MASKS.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, painted(parts), TREES)
        ignored = ['--ignore', IGNORED[name]] if name in IGNORED else []
        done = train(SHAPES, tmp_path / name, tmp_path / f'{name}_work', *ignored)
        losses[name] = first_loss(done, tmp_path / f'{name}_work')
    assert len(set(losses.values())) == 1, losses


@pytest.mark.slow
@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO])
def test_trained_tested_and_used_without_the_data(config: str, parts: Parts, tmp_path: Path, monkeypatch) -> None:
    write_yolo(tmp_path / 'data', parts)
    work = tmp_path / 'work'
    assert train(config, tmp_path / 'data', work).returncode == 0
    record = json.loads((work / 'records/val.json').read_text())
    assert [image['file_name'] for image in record['images']] == ['val/images/p4.jpg', 'val/images/p5.jpg']
    cfg = Config.fromfile(str(next(work.glob('*.py'))))
    assert cfg.train_dataloader.dataset.ann_file == str(work / 'records/train.json')
    done = call_tool('test', config, str(work), '--data', str(tmp_path / 'data'), '--work-dir', str(tmp_path / 'tested'))
    assert done.returncode == 0 and 'on 2 images' in done.stdout, done.stderr
    (tmp_path / 'data').rename(tmp_path / 'gone')
    (work / 'records').rename(tmp_path / 'no_record')
    monkeypatch.chdir(tmp_path)
    model = load_model(str(work))
    expected = ('background', *CLASSES) if config == SHAPES else CLASSES
    assert model.classes == expected and model(str(parts['val'][0].path)).size == (100, 120)


@pytest.mark.slow
def test_boxes_alone_train_without_a_mask_head(parts: Parts, tmp_path: Path) -> None:
    write_yolo(tmp_path / 'data', parts)
    for path in tmp_path.glob('data/*/labels/*.txt'):
        rows = [row.split() for row in path.read_text().splitlines()]
        path.write_text('\n'.join(f'{row[0]} 0.5 0.5 0.3 0.4' for row in rows))
    done = train(SHAPES_COCO, tmp_path / 'data', tmp_path / 'work')
    assert done.returncode == 0, done.stderr
    log = next((tmp_path / 'work').glob('*/*.log')).read_text()
    assert 'the objects have no outline: boxes alone are learnt, the mask head is left out' in log
    assert 'loss_mask' not in log and 'coco/bbox_mAP' in log and 'coco/segm_mAP' not in log
    done = train(SHAPES, tmp_path / 'data', tmp_path / 'no')
    one_line(done.returncode, done.stderr, 'expected outlines or masks for the classes of pixels, got boxes')
    assert not (tmp_path / 'no').exists()


def test_what_does_not_go_together(parts: Parts, tmp_path: Path) -> None:
    write_coco(tmp_path / 'data', parts)
    MASKS['indices'](tmp_path / 'masks', painted(parts), TREES)
    data, work = str(tmp_path / 'data'), str(tmp_path / 'work')
    for config, args, words in (
        (SHAPES, ['--data', data, '--data-root', data], '--data and --data-root: expected one of the two'),
        (SHAPES, ['--classes', 'fig'], '--classes: expected --data DIR with it'),
        (SHAPES, ['--merge', 'a=b'], '--merge: expected --data DIR with it'),
        (SHAPES, ['--epochs', '3'], '--epochs: expected --data DIR with it'),
        (SHAPES, ['--data', data, '--task', 'instance'], '--task instance: expected semantic, as the recipe'),
        (SHAPES_COCO, ['--data', str(tmp_path / 'masks')], 'expected objects, got masks of classes .* name an UperNet recipe'),
        (SHAPES_COCO, ['--data', data, '--val-share', '2'], '--val-share: expected a share above 0'),
        (SHAPES, ['--data', data, '--group-by', '('], '--group-by: expected'),
        (
            SHAPES,
            ['--data', data, '--epochs', '1', '--cfg-options', 'train_cfg.max_iters=3'],
            'expected one of the two, got both',
        ),
        (SHAPES_COCO, ['--data', data, '--crop', '64'], '--crop: expected a segmentor'),
        (SHAPES, ['--data', data, '--repeat-rare', '0.5'], '--repeat-rare: expected a detector'),
        (SHAPES, ['--data', data, '--cfg-options', 'model.decode_head.num_classes=3'], 'num_classes: expected 4, .* got 3'),
        (SHAPES, ['--data', str(tmp_path / 'nothing')], 'which is not there'),
    ):
        done = call_tool('train', config, '--work-dir', work, *args)
        one_line(done.returncode, done.stderr, words)
        assert not Path(work).exists()


def test_a_wrong_picture_leaves_nothing(parts: Parts, tmp_path: Path) -> None:
    write_coco(tmp_path / 'data', parts)
    picture = tmp_path / 'data/images/p1.jpg'
    picture.write_bytes(picture.read_bytes()[:200])
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/notes.txt').write_text('mine')
    for config in (SHAPES, SHAPES_COCO):
        done = train(config, tmp_path / 'data', tmp_path / 'work')
        one_line(done.returncode, done.stderr, 'p1.jpg cannot be read')
        assert [path.name for path in (tmp_path / 'work').iterdir()] == ['notes.txt']


def test_classes_that_the_model_does_not_have(parts: Parts, tmp_path: Path, segmentor_file: str) -> None:
    write_coco(tmp_path / 'data', parts)
    done = call_tool('test', SHAPES, segmentor_file, '--data', str(tmp_path / 'data'), '--work-dir', str(tmp_path / 'work'))
    one_line(done.returncode, done.stderr, 'expected the classes of the model .* got date, fig, hazelnut too')


@pytest.mark.parametrize(('share', 'count'), [([], 1), (['--val-share', '1'], 6)])
def test_a_folder_without_splits_is_tested_as_it_validates(
    share: list[str], count: int, parts: Parts, tmp_path: Path, detector_file: str
) -> None:
    ones = [*parts['train'], *parts['val']]
    write_coco(tmp_path / 'data', dict(all=ones))
    names = load_model(detector_file).classes
    (tmp_path / 'data/all.json').write_text(json.dumps(coco_content(ones, names[:3])))
    data = str(tmp_path / 'data')
    options = ['--cfg-options', *(one for one in QUICK if one.startswith('test_'))]
    done = call_tool('test', SHAPES_COCO, detector_file, '--data', data, '--work-dir', str(tmp_path / 'work'), *share, *options)
    assert done.returncode == 0 and f'on {count} images' in done.stdout, done.stderr


@pytest.mark.slow
def test_a_resumed_run_keeps_its_data(parts: Parts, tmp_path: Path) -> None:
    """What is added to the folder meanwhile, or lost, is not read; other options are refused and the records stay."""
    MASKS['indices'](tmp_path / 'data', painted(parts), TREES)
    data, work = tmp_path / 'data', tmp_path / 'work'
    assert train(SHAPES, data, work, '--epochs', '2', '--resume', 'auto', options=QUICK).returncode == 0
    record = (work / 'records/train.json').read_bytes()
    for one in parts['val']:
        for kind, path in (('images', one.path), ('masks', data / f'masks/val/{one.path.stem}.png')):
            (data / kind / 'train' / f'new_{one.path.stem}{path.suffix}').write_bytes(path.read_bytes())
    done = train(SHAPES, data, work, '--epochs', '3', '--resume', options=QUICK)
    assert done.returncode == 0, done.stderr
    logs = sorted(work.glob('*/*.log'))
    assert 'data: as recorded in' in logs[-1].read_text() and '4 train, 2 val' in logs[-1].read_text()
    done = train(SHAPES, data, work, '--epochs', '4', '--resume', '--classes', 'sky', options=QUICK)
    one_line(done.returncode, done.stderr, '--classes: expected --resume without it')
    done = train(SHAPES, data, work, '--epochs', '3', '--resume', 'auto', '--layout', 'masks', options=QUICK)
    assert done.returncode == 0, done.stderr  # a restart loop
    done = train(SHAPES, data, work, '--epochs', '4', '--resume', 'nowhere.pth', options=QUICK)
    assert done.returncode == 2 and (work / 'records/train.json').read_bytes() == record


@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO])
def test_a_failed_start_leaves_the_folder_as_it_is(config: str, parts: Parts, tmp_path: Path, monkeypatch) -> None:
    """Also where the work directory is the folder above it, or the folder itself."""
    write_coco(tmp_path / 'records', parts)
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    monkeypatch.chdir(tmp_path)
    for work in ('.', 'records'):
        given = ['--data', 'records', '--work-dir', work, '--pretrained', 'nowhere.pth', '--cfg-options', *QUICK]
        done = call_tool('train', config, *given)
        one_line(done.returncode, done.stderr, 'nowhere.pth')
        assert before == {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}


def test_an_error_names_the_folder_and_the_picture(parts: Parts, tmp_path: Path) -> None:
    write_yolo(tmp_path / 'data', parts)
    label = tmp_path / 'data/train/labels/p1.txt'
    label.write_text('0 1.0 0.5 0.9 0.3\n')
    for path in tmp_path.glob('data/*/labels/*.txt'):
        if path != label:
            path.write_text('0 0.5 0.5 0.3 0.3\n')
    done = train(SHAPES_COCO, tmp_path / 'data', tmp_path / 'work')
    one_line(done.returncode, done.stderr, r'data \(train\).*train/images/p1.jpg')
    assert 'records' not in done.stderr and 'image 1' not in done.stderr
