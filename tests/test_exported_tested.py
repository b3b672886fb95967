"""`convnext-dense test CONFIG model.onnx`: the metrics of an exported file beside those of its checkpoint."""

import json
from pathlib import Path
from typing import Any

import cv2
import forked
import numpy as np
import pytest
import torch
from conftest import QUICK, ROOT, SHAPES, SHAPES_COCO, call_tool, one_line
from exported_files import description, write
from mmengine.config import Config
from mmseg.structures import SegDataSample
from models import photograph

from convnext_dense.errors import InputError
from convnext_dense.predict.exported_model import ExportedFile, ExportedModel
from convnext_dense.predict.exported_tested import ExportedTested, use_exported
from convnext_dense.predict.loading import load_model

HEIGHT, WIDTH = 99, 130
ALONE = ['test_dataloader.batch_size=1', *(one for one in QUICK if one.startswith('test_dataloader') and 'batch' not in one)]


def config(*steps: dict[str, Any]) -> Config:
    pipeline = [dict(type='LoadImageFromFile'), *steps, dict(type='PackSegInputs')]
    return Config(dict(model=dict(decode_head={}), test_dataloader=dict(dataset=dict(pipeline=pipeline))))


def file(path: Path, task: str = 'segmentation', **changes: Any) -> ExportedFile:
    return ExportedFile(write(path, description(task, **changes)))


def test_pictures_come_at_their_own_size(tmp_path: Path) -> None:
    resize = dict(type='mmseg.Resize', scale=(120, 90), keep_ratio=True)
    cfg = config(resize)
    same = file(tmp_path / 'm.onnx', resize=dict(scale=[120, 90], keep_ratio=True))
    lines = use_exported(cfg, same, same.about.classes)
    assert cfg.test_dataloader.dataset.pipeline[1] == dict(type='Resize', scale_factor=1.0, keep_ratio=True)
    assert cfg.model == dict(type='mmengine.ExportedTested', path=same.path)
    assert len(lines) == 1 and 'm.onnx is tested, exported from epoch_1.pth' in lines[0]


@pytest.mark.parametrize(
    'resize, steps, words',
    [
        (None, [dict(type='Resize', scale=(120, 90), keep_ratio=True)], "the file's, none, in place of .*, 120 x 90 at most"),
        (dict(scale=[9, 8], keep_ratio=False), [], "the file's, 9 x 8, in place of the config's, none"),
        (dict(scale=[9, 8], keep_ratio=True), [dict(type='Resize', scale=(9, 8))], 'at most, in place of .*, 9 x 8'),
        (None, [], None),
        (None, [dict(type='Resize', scale=None, scale_factor=1.0)], None),
        (dict(scale=[9, 9], keep_ratio=True), [dict(type='Resize', scale=9, keep_ratio=True)], None),
        (None, [dict(type='Resize', scale_factor=0.5)], "the file's, none, in place of .*'scale_factor': 0.5"),
    ],
)
def test_another_resize_is_said(resize: Any, steps: list[dict[str, Any]], words: str | None, tmp_path: Path) -> None:
    given = file(tmp_path / 'm.onnx', resize=resize)
    _, *lines = use_exported(config(*steps), given, given.about.classes)
    assert len(lines) == (words is not None)
    if words is not None:
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(lines[0])


def test_windows_are_said(tmp_path: Path) -> None:
    cfg, given = config(), file(tmp_path / 'm.onnx')
    cfg.model.test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    assert use_exported(cfg, given, [])[1] == 'the config predicts by windows; the file takes the whole picture at once'


def test_other_classes_and_tasks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'other classes than the data has: expected a, b; got cat, dog, hen'):
        use_exported(config(), file(tmp_path / 'm.onnx'), ['a', 'b'])
    with pytest.raises(InputError, match='expected a segmentor, as the config has it, got a detector; name another config'):
        use_exported(config(), file(tmp_path / 'm.onnx', 'detection'), [])


@pytest.mark.parametrize('raw', [False, True])
@pytest.mark.parametrize('task', ['segmentation', 'detection'])
def test_answers_are_those_of_predicting(task: str, raw: bool, tmp_path: Path) -> None:
    path = write(
        tmp_path / 'm.onnx', description(task, raw=raw, resize=dict(scale=[100, 90], keep_ratio=True) if raw else None)
    )
    rgb = photograph(61, 83)
    image = torch.from_numpy(rgb[..., ::-1].transpose(2, 0, 1).copy())
    (sample,) = ExportedTested(str(path)).test_step(dict(inputs=[image], data_samples=[SegDataSample()]))
    theirs = ExportedModel(ExportedFile(path), score=0)(rgb)
    if task == 'segmentation':
        assert np.array_equal(sample.pred_sem_seg.data[0].numpy(), theirs.mask)
    else:
        found = sample.pred_instances
        assert np.array_equal(found.bboxes, theirs.boxes) and np.array_equal(found.masks, theirs.masks)
        assert np.array_equal(found.scores, theirs.scores) and np.array_equal(found.labels, theirs.labels)


def test_pictures_that_a_file_does_not_take(tmp_path: Path) -> None:
    model = ExportedTested(str(write(tmp_path / 'm.onnx', description(input=dict(size=[40, 52])))))
    sample = SegDataSample(metainfo=dict(img_path='a.jpg'))
    for image, words in (
        (torch.zeros(4, 40, 52), r'expected pictures of three channels of bytes, got 4 of float32; test its checkpoint'),
        (torch.zeros(3, 41, 52, dtype=torch.uint8), r'a.jpg is 41x52 \(height x width\) where the model takes 40x52 alone'),
    ):
        with pytest.raises(InputError, match=words):
            model.test_step(dict(inputs=[image], data_samples=[sample]))


@pytest.mark.parametrize('option', [['--tta'], ['--tile', '64'], ['--launcher', 'pytorch']])
def test_options_of_a_checkpoint(option: list[str], tool, tmp_path: Path) -> None:
    status, err = tool('test', SHAPES, str(write(tmp_path / 'm.onnx')), '--work-dir', str(tmp_path / 'run'), *option)
    one_line(status, err, f'{option[0]}: expected a checkpoint with it, got the exported file .*m.onnx; leave it out')


def test_a_file_of_other_classes_than_the_data(tool, shapes: str, tmp_path: Path) -> None:
    given = ['--data-root', shapes, '--work-dir', str(tmp_path / 'run')]
    status, err = tool('test', SHAPES, str(write(tmp_path / 'm.onnx')), *given)
    one_line(status, err, 'expected ground, disc, .*; got cat, dog, hen')
    assert not (tmp_path / 'run').exists()


def metrics(cfg: str, model: str, data: str, out: Path, *options: str) -> dict[str, float]:
    given = ['--data-root', data, '--work-dir', str(out / 'run'), '--out', str(out / 'metrics.json')]
    done = call_tool('test', cfg, model, *given, '--cfg-options', *ALONE, *options)
    assert done.returncode == 0, done.stderr
    return json.loads((out / 'metrics.json').read_text())


@pytest.fixture
def even(root: Path) -> Path:
    """The toy set with its validation pictures and masks at HEIGHT x WIDTH."""
    for kind in ('images', 'annotations'):
        for file in (root / kind / 'validation').iterdir():
            picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(file), cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))
    return root


def exported(checkpoint: str, path: Path) -> str:
    """Of one size alone, which is exported in a third of the time of any size."""
    done = call_tool('export', checkpoint, '--to', 'onnx', '--out', str(path), '--size', f'{HEIGHT}x{WIDTH}')
    assert done.returncode == 0, done
    return str(path)


@pytest.mark.slow
def test_a_segmentor_has_the_metrics_of_its_checkpoint(segmentor_file: str, shapes: str, tmp_path: Path) -> None:
    """Of pictures of several sizes, by both runtimes, OpenVINO in a process of its own."""
    done = call_tool('export', segmentor_file, '--to', 'onnx', 'openvino', '--out', str(tmp_path / 'm.onnx'))
    assert done.returncode == 0, done
    theirs, ours = (metrics(SHAPES, file, shapes, tmp_path) for file in (segmentor_file, str(tmp_path / 'm.onnx')))
    given = ['--data-root', shapes, '--work-dir', str(tmp_path / 'run'), '--out', str(tmp_path / 'xml.json')]
    tool = str(ROOT / 'tools/test.py')
    other = forked.run([tool, SHAPES, str(tmp_path / 'm.xml'), *given, '--cfg-options', *ALONE], cwd=ROOT)
    assert other.returncode == 0, other.stderr
    assert theirs['mIoU'] > 0 and ours == pytest.approx(theirs, abs=1e-3)
    assert json.loads((tmp_path / 'xml.json').read_text()) == pytest.approx(theirs, abs=1e-3)


@pytest.mark.slow
def test_a_detector_has_the_metrics_of_its_checkpoint(detector_file: str, even: Path, tmp_path: Path) -> None:
    """The objects to find are half of those that the untrained model finds, their boxes moved a little."""
    content = torch.load(detector_file, weights_only=True)
    for name, weight in content['state_dict'].items():
        if 'bbox_head.fc_cls' in name or 'rpn_cls' in name:
            weight *= 20  # scores that tell objects apart
    checkpoint = str(tmp_path / 'model.pth')
    torch.save(content, checkpoint)
    path = exported(checkpoint, tmp_path / 'm.onnx')
    model = load_model(path, score=0.3)
    annotations = even / 'instances_validation.json'
    data = json.loads(annotations.read_text())
    data['annotations'] = []
    for image in data['images']:
        image.update(height=HEIGHT, width=WIDTH)
        found = model(str(even / 'images/validation' / image['file_name'])).to_coco(image['id'], 1)[::2]
        for row in found:
            row['id'] = len(data['annotations']) + 1
            row['bbox'][0] += 1.5
            data['annotations'].append(row)
    assert len(data['annotations']) > 10
    annotations.write_text(json.dumps(data))
    theirs, ours = (metrics(SHAPES_COCO, one, str(even), tmp_path) for one in (checkpoint, path))
    assert theirs['coco/bbox_mAP'] > 0.05 and theirs['coco/segm_mAP'] > 0.05
    assert ours == pytest.approx(theirs, abs=1e-3)
