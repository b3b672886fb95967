"""Detectors through the command line: train, resume, test, own data, images without objects, two processes, wrong inputs."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from coco_sets import edit
from conftest import QUICK, ROOT, SHAPES, SHAPES_COCO, call_tool, one_line, two_processes
from PIL import Image

from convnext_dense.detection.coco_metric import STATS

EPOCHS = ['train_cfg.max_epochs=2', 'train_cfg.val_interval=2', 'model.train_cfg.rpn_proposal.max_per_img=50']


def options(data_root, work_dir, *extra: str) -> list[str]:
    return ['--data-root', str(data_root), '--work-dir', str(work_dir), '--seed', '0', '--cfg-options', *QUICK, *EPOCHS, *extra]


@pytest.fixture(scope='module')
def trained(shapes: str, tmp_path_factory) -> tuple[Path, str]:
    """A finished run of two epochs of three steps: its work directory and its output."""
    work_dir = tmp_path_factory.mktemp('run')
    done = call_tool('train', SHAPES_COCO, *options(shapes, work_dir))
    assert done.returncode == 0, done.stderr
    return work_dir, done.stdout


@pytest.mark.slow
def test_training_says_what_it_does(trained) -> None:
    work_dir, out = trained
    assert {'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint'} <= {path.name for path in work_dir.iterdir()}
    for line in (
        'classes: 5 from',
        '(disc, square, triangle, star, ring) in 2 heads',
        'instances_training.json, images in',
        'from scratch',
        'learning-rate groups',
        'coco/bbox_mAP:',
        'coco/segm_AR_l@100:',
    ):
        assert line in out, line


@pytest.mark.slow
def test_resume_and_test(trained, shapes: str, tmp_path) -> None:
    work_dir = Path(shutil.copytree(trained[0], tmp_path / 'run'))
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    done = call_tool('train', SHAPES_COCO, *options(shapes, work_dir), '--resume')
    assert done.returncode == 0, done.stderr
    assert 'resumed epoch: 1, iter: 3' in done.stdout and 'Epoch(train) [2]' in done.stdout
    values = []
    for backend in ('pycocotools', 'faster-coco-eval'):
        out = tmp_path / f'{backend}.json'
        args = [*options(shapes, tmp_path / 'test', 'model.test_cfg.rcnn.score_thr=0.0'), '--out', str(out)]
        tested = call_tool(
            'test', SHAPES_COCO, str(work_dir), *args, '--eval-backend', backend, '--show-dir', str(tmp_path / 'pictures')
        )
        assert tested.returncode == 0, tested.stderr
        values.append(json.loads(out.read_text()))
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert list(values[0]) == [f'coco/{kind}_{name}' for kind in ('bbox', 'segm') for name in STATS]
    lines = tested.stdout.strip().splitlines()
    assert re.fullmatch(rf'bbox AP [\d.]+, segm AP [\d.]+ on 5 images; pictures in {tmp_path}/pictures', lines[-1])
    assert re.search(r'\| AR_l@100 +\| -1.000 +\| -1.000 +\|', tested.stdout)
    width, height = Image.open(Path(shapes) / 'images/validation/scene_00000.jpg').size
    assert Image.open(tmp_path / 'pictures' / 'scene_00000.png').size == (2 * width, height)


@pytest.mark.slow
def test_own_data_with_no_code(tool, root: Path, tmp_path) -> None:
    """Other names, numbers and folders, a class more, annotation files by option: heads, names and pictures follow."""
    names = ['date', 'fig', 'hazelnut', 'nut', 'pear', 'unseen']

    def change(coco: dict) -> None:
        coco['categories'] = [dict(id=10 * (i + 1), name=name) for i, name in enumerate(names)]
        for item in coco['annotations']:
            item['category_id'] *= 10

    for split in ('training', 'validation'):
        edit(root, change, f'instances_{split}.json')
        (root / 'images' / split).rename(root / f'{split}_photos')
    (root / 'instances_training.json').rename(root / 'fruit.json')
    work_dir = tmp_path / 'run'
    files = ['--train-ann', 'fruit.json', '--val-ann', str(root / 'instances_validation.json')]
    done = call_tool('train', SHAPES_COCO, *options(root, work_dir), *files)
    assert done.returncode == 0, done.stderr
    assert f'classes: 6 from {root}/fruit.json (date, fig, hazelnut, nut, pear, unseen) in 2 heads' in done.stdout
    assert f'images in {root}/training_photos' in done.stdout
    content = torch.load(work_dir / 'epoch_2.pth', weights_only=False)
    assert list(content['meta']['dataset_meta']['classes']) == names
    assert content['state_dict']['roi_head.mask_head.conv_logits.weight'].shape[0] == 6
    args = options(root, tmp_path / 'test')
    tested = call_tool('test', SHAPES_COCO, str(work_dir), *args, '--val-ann', 'instances_validation.json')
    assert tested.returncode == 0, tested.stderr
    edit(root, lambda coco: coco['categories'][1].update(name='figs'), 'instances_validation.json')
    one_line(
        *tool('test', SHAPES_COCO, str(work_dir), *args),
        'trained on other classes than the data has: expected date, figs, .*got date, fig, ',
    )


@pytest.mark.slow
def test_batches_without_objects_in_two_processes(root: Path, tmp_path) -> None:
    """Objects for the first process alone, which the other must wait for; then for neither."""
    edit(root, lambda coco: coco.update(annotations=[a for a in coco['annotations'] if a['image_id'] == 1]))
    extra = [
        'train_dataloader.dataset.filter_cfg.filter_empty_gt=False',
        'train_dataloader.sampler.shuffle=False',
        'train_dataloader.batch_size=1',
        'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1',
    ]
    done = two_processes('train', SHAPES_COCO, *options(root, tmp_path / 'run', *extra))
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'coco/bbox_mAP:' in done.stdout and 'nan' not in done.stdout


@pytest.mark.slow
def test_photographs_of_every_kind(root: Path, tmp_path) -> None:
    """Greyscale, RGBA, 16-bit, CMYK, turned by EXIF, and of extreme aspect ratio."""
    images = root / 'images' / 'training'
    paths = sorted(images.iterdir())
    exif = Image.Exif()
    exif[0x0112] = 6
    sizes = {}
    for path, kind in zip(paths, ('grey', 'rgba', '16 bit', 'cmyk', 'exif', 'wide')):
        image = Image.open(path).convert('RGB')
        new = path.with_suffix('.jpg' if kind in ('grey', 'cmyk', 'exif') else '.png')
        path.unlink()
        if kind == 'grey':
            image.convert('L').save(new)
        elif kind == 'rgba':
            image.convert('RGBA').save(new)
        elif kind == '16 bit':
            image.convert('I').point(lambda value: value * 257).convert('I;16').save(new)
        elif kind == 'cmyk':
            image.convert('CMYK').save(new)
        elif kind == 'exif':
            image.save(new, exif=exif)
        else:
            image = image.resize((1000, 33))
            image.save(new)
        sizes[path.name] = (new.name, image.size if kind != 'exif' else image.size[::-1])

    def change(coco: dict) -> None:
        for image in coco['images']:
            name, (width, height) = sizes[image['file_name']]
            image.update(file_name=name, width=width, height=height)
            box = [1, 1, width - 2, height - 2]
            polygon = [1, 1, width - 1, 1, width - 1, height - 1, 1, height - 1]
            for item in coco['annotations']:
                if item['image_id'] == image['id']:
                    item.update(bbox=box, area=box[2] * box[3], segmentation=[polygon])

    edit(root, change)
    files = ['--val-ann', 'instances_training.json']
    done = call_tool('train', SHAPES_COCO, *options(root, tmp_path / 'run', 'train_cfg.val_interval=1'), *files)
    assert done.returncode == 0, done.stderr
    assert 'coco/segm_mAP:' in done.stdout and 'nan' not in done.stdout


@pytest.mark.slow
def test_crowds_zero_areas_and_a_thousand_objects(root: Path, tmp_path) -> None:
    def change(coco: dict) -> None:
        first = coco['annotations'][0]
        coco['annotations'][1].update(iscrowd=1)
        coco['annotations'][2].update(bbox=[9, 9, 0, 0], area=0)
        coco['annotations'] += [dict(first, id=10_000 + i) for i in range(1000)]

    edit(root, change)
    done = call_tool(
        'train', SHAPES_COCO, *options(root, tmp_path / 'run', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1')
    )
    assert done.returncode == 0, done.stderr
    assert 'left out of training: 1 objects of less than a pixel a side; 1 crowds' in done.stdout and 'nan' not in done.stdout


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda coco: coco.pop('images'), 'where images is not a list of dicts'),
        (
            lambda coco: coco['images'].append(dict(id=99, file_name='no.jpg', width=9, height=9)),
            'image 99 is missing: .*no.jpg',
        ),
        (lambda coco: coco['annotations'][0].update(category_id=9), 'category id 9 of 1 annotations is not in the list'),
        (lambda coco: coco['annotations'][0].update(segmentation=[[1, 2, 3, 4]]), 'a polygon of 4 numbers'),
        (lambda coco: coco['annotations'][0].update(bbox=[400, 4, 30, 30]), 'outside its image'),
        (lambda coco: coco['annotations'][1].update(id=1), 'annotations with the same id: 1'),
    ],
    ids=['no COCO', 'missing image', 'unknown category', 'two points', 'outside', 'twice'],
)
def test_wrong_data(tool, root: Path, tmp_path, change, message: str) -> None:
    edit(root, change)
    one_line(*tool('train', SHAPES_COCO, *options(root, tmp_path / 'run')), message)
    assert not (tmp_path / 'run').exists()
    status, _ = tool('check', SHAPES_COCO, '--data-root', str(root))
    assert status in (1, 2)


@pytest.mark.parametrize(
    'args, message',
    [
        (['num_classes=7'], 'num_classes: expected 5, the classes of .*; got 7'),
        (['train_dataloader.dataset.metainfo.classes=[disc,square,triangle,start,ring]'], 'only in the config: start; only in'),
        (['val_evaluator.backend=coco'], 'expected one of pycocotools, faster-coco-eval, got .coco.'),
        (['model.neck.in_channels=[1,2,3,4]'], r'model.neck.in_channels: expected \[40, 80, 160, 320\]'),
        (['--train-ann', 'nothing.json'], 'looked for .*nothing.json and nothing.json'),
        (['--val-ann', 'nothing.json'], 'looked for .*nothing.json and nothing.json'),
        (['--data-root', 'elsewhere'], 'expected a COCO annotation file, looked for elsewhere/instances_training.json'),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else '',
)
def test_wrong_options(tool, shapes: str, tmp_path, args: list[str], message: str) -> None:
    base = ['--work-dir', str(tmp_path / 'run')] + ([] if '--data-root' in args else ['--data-root', shapes])
    given = args if args[0].startswith('--') else ['--cfg-options', *args]
    one_line(*tool('train', SHAPES_COCO, *base, *given), message)
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_checkpoints_of_another_model(tool, trained, shapes: str, tmp_path) -> None:
    segmentor = dict(state_dict={'decode_head.conv_seg.weight': torch.zeros(6, 4, 1, 1)})
    torch.save(segmentor, tmp_path / 'upernet.pth')
    base = ['--data-root', shapes, '--work-dir', str(tmp_path / 'run')]
    message = 'a segmentor, does not fit this MaskRCNN: .*missing.*unexpected: decode_head'
    one_line(*tool('test', SHAPES_COCO, str(tmp_path / 'upernet.pth'), *base), message)
    one_line(*tool('train', SHAPES_COCO, '--load-from', str(tmp_path / 'upernet.pth'), *base), message)
    one_line(*tool('test', SHAPES, str(trained[0]), *base), 'a detector with RoI heads, does not fit this LeanEncoderDecoder')
    one_line(*tool('test', SHAPES_COCO, str(trained[0]), *base, '--tta'), '--tta: expected tta_model')
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_cascade_trains_with_crowds_and_without_objects(root: Path, tmp_path) -> None:
    """The published heads on a small backbone: batches with objects, with a crowd, and with none."""

    def change(coco: dict) -> None:
        coco['annotations'] = [dict(a, iscrowd=int(a['image_id'] == 2)) for a in coco['annotations'] if a['image_id'] in (1, 2)]
        coco['images'] = coco['images'][:3]

    edit(root, change)
    config = str(ROOT / 'configs/cascade_mask_rcnn_convnext_t_coco.py')
    files = ['--train-ann', 'instances_training.json', '--val-ann', 'instances_validation.json', '--pretrained', 'none']
    extra = [
        'model.backbone.arch=atto',
        'model.neck.in_channels=[40,80,160,320]',
        *(f'model.train_cfg.rcnn.{stage}.sampler.num=8' for stage in range(3)),
        *(f'model.roi_head.bbox_head.{stage}.fc_out_channels=64' for stage in range(3)),
        'model.test_cfg.rpn.max_per_img=20',
        'model.test_cfg.rcnn.max_per_img=4',
        'val_dataloader.dataset.pipeline.1.scale=(96,96)',
        'default_hooks.checkpoint.interval=-1',
        'train_cfg.max_epochs=1',
        'train_dataloader.batch_size=1',
        'train_dataloader.dataset.filter_cfg.filter_empty_gt=False',
        *(f'train_dataloader.dataset.pipeline.3.transforms.{step}.scales=[(96,96)]' for step in ('0.0', '1.0', '1.2')),
        'train_dataloader.dataset.pipeline.3.transforms.1.1.crop_size=(64,64)',
    ]
    done = call_tool('train', config, *options(root, tmp_path / 'run', *extra), *files)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'in 4 heads' in done.stdout and 'Epoch(train) [1][3/3]' in done.stdout and 'nan' not in done.stdout
    assert 's2.loss_mask' in done.stdout
