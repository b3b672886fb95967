"""COCO's twelve numbers: by hand, by both backends, and against the published ones where the files are there."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmdet.structures.mask import encode_mask_results
from pycocotools import mask as coco_mask

from convnext_dense import InputError
from convnext_dense.data.coco import BACKENDS
from convnext_dense.data.shapes import SHAPES, noisy_detections
from convnext_dense.detection.coco_metric import STATS, CocoStatsMetric, _by_class, coco_stats, encode_masks

REFERENCE = ROOT.parent / 'shared' / 'data' / 'cocoeval_ref'
backends = pytest.mark.parametrize('backend', BACKENDS)


def rle(mask: np.ndarray) -> dict:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(encoded, counts=encoded['counts'].decode())


def box_mask(box: list[int], height: int = 60, width: int = 80) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    x, y, w, h = box
    mask[y : y + h, x : x + w] = 1
    return mask


def one_image(boxes: list[list[int]], crowd: tuple[int, ...] = ()) -> dict:
    """A ground truth of one 80x60 image and one class."""
    return dict(
        images=[dict(id=7, file_name='a.jpg', width=80, height=60)],
        categories=[dict(id=3, name='thing')],
        annotations=[
            dict(
                id=i + 1,
                image_id=7,
                category_id=3,
                bbox=box,
                area=box[2] * box[3],
                iscrowd=int(i in crowd),
                segmentation=rle(box_mask(box)),
            )
            for i, box in enumerate(boxes)
        ],
    )


def found(box: list[int], score: float) -> dict:
    return dict(image_id=7, category_id=3, score=score, bbox=box, segmentation=rle(box_mask(box)))


@backends
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_by_hand(backend: str, kind: str) -> None:
    """Two objects of 20x20; one found exactly, the other at an IoU of 15 / 20 = 0.75: counted at 0.5 to 0.75, six of ten."""
    truth = one_image([[0, 0, 20, 20], [40, 20, 20, 20]])
    stats, _ = coco_stats(truth, [found([0, 0, 20, 20], 0.9), found([40, 20, 15, 20], 0.8)], kind, backend)
    half = 51 / 101  # recall 0.5 is reached with full precision at 51 of 101 points
    by_name = dict(zip(STATS, stats))
    assert by_name['mAP'] == pytest.approx((6 * 1 + 4 * half) / 10)
    assert (by_name['mAP_50'], by_name['mAP_75']) == pytest.approx((1, 1))
    assert by_name['AR@1'] == pytest.approx(0.5)
    assert by_name['AR@100'] == pytest.approx((6 * 1 + 4 * 0.5) / 10)
    assert by_name['mAP_s'] == by_name['mAP'] and by_name['mAP_m'] == by_name['mAP_l'] == -1


@backends
def test_a_detection_in_a_crowd_is_no_error(backend: str) -> None:
    truth = one_image([[0, 0, 20, 20], [40, 20, 30, 30]], crowd=(1,))
    detections = [found([45, 25, 10, 10], 0.9), found([0, 0, 20, 20], 0.8)]
    assert coco_stats(truth, detections, 'bbox', backend)[0][0] == pytest.approx(1)
    assert coco_stats(one_image([[0, 0, 20, 20]]), detections, 'bbox', backend)[0][0] == pytest.approx(0.5)


@backends
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_nothing_found_and_nothing_there(backend: str, kind: str) -> None:
    assert coco_stats(one_image([[0, 0, 20, 20]]), [], kind, backend)[0][0] == 0
    assert (coco_stats(one_image([]), [found([0, 0, 9, 9], 0.5)], kind, backend)[0] == -1).all()
    assert (coco_stats(one_image([]), [], kind, backend)[0] == -1).all()


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_both_backends_agree_to_every_digit(shapes: str, kind: str) -> None:
    truth = json.loads(Path(shapes, 'instances_training.json').read_text())
    detections = noisy_detections(truth, 6)
    reference, _ = coco_stats(truth, detections, kind, 'pycocotools')
    faster, _ = coco_stats(truth, detections, kind, 'faster-coco-eval')
    assert 0 < reference[0] < 1
    np.testing.assert_allclose(faster, reference, rtol=0, atol=1e-12)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason='no published detections here')
@backends
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_published_numbers(backend: str, kind: str) -> None:
    truth = json.loads((REFERENCE / 'instances_val2014_100.json').read_text())
    detections = json.loads((REFERENCE / f'instances_val2014_fake{kind}100_results.json').read_text())
    expected = json.loads((REFERENCE / 'expected_stats_pycocotools.json').read_text())[kind]
    stats, _ = coco_stats(truth, detections, kind, backend)
    np.testing.assert_allclose(stats, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('columns_first', [False, True])
@pytest.mark.parametrize('count', [0, 1, 5])
def test_run_lengths_equal_those_of_mmdet(columns_first: bool, count: int) -> None:
    torch.manual_seed(0)
    masks = torch.rand(count, 33, 47) > 0.7
    if columns_first:
        masks = masks.transpose(1, 2).contiguous().transpose(1, 2)
    assert encode_masks(masks) == encode_mask_results(masks.numpy())


def sample(boxes: list[list[float]], scores: list[float], labels: list[int], masks: torch.Tensor, image: int = 1) -> dict:
    pred = dict(
        bboxes=torch.tensor(boxes).reshape(-1, 4), scores=torch.tensor(scores), labels=torch.tensor(labels), masks=masks
    )
    return dict(img_id=image, pred_instances=pred)


@pytest.fixture
def perfect(shapes: str) -> tuple[str, list[dict]]:
    """A metric's file, and predictions equal to its objects."""
    path = str(Path(shapes, 'instances_validation.json'))
    truth = json.loads(Path(path).read_text())
    samples = []
    for image in truth['images']:
        items = [item for item in truth['annotations'] if item['image_id'] == image['id']]
        masks = torch.from_numpy(np.stack([coco_mask.decode(item['segmentation']) for item in items])).bool()
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (item['bbox'] for item in items)]
        labels = [item['category_id'] - 1 for item in items]
        samples.append(sample(boxes, [0.9] * len(items), labels, masks, image['id']))
    return path, samples


@backends
def test_the_metric_on_perfect_predictions(perfect, backend: str, tmp_path, logged) -> None:
    path, samples = perfect
    metric = CocoStatsMetric(path, backend=backend, classwise=True, outfile_prefix=str(tmp_path / 'out' / 'run'))
    metric.dataset_meta = dict(classes=SHAPES)
    for one in samples:
        metric.process(None, [one])
    metrics = metric.evaluate(len(samples))
    assert list(metrics) == [f'coco/{kind}_{name}' for kind in ('bbox', 'segm') for name in STATS]
    assert metrics['coco/bbox_mAP'] == pytest.approx(1) and metrics['coco/segm_mAP'] == pytest.approx(1)
    written = json.loads((tmp_path / 'out' / 'run.segm.json').read_text())
    assert len(written) == sum(len(one['pred_instances']['labels']) for one in samples)
    assert any('segm by class' in line and '| star ' in line and '| 1.000 |' in line for line in logged)


def test_format_only_writes_and_computes_nothing(perfect, tmp_path) -> None:
    path, samples = perfect
    metric = CocoStatsMetric(path, metric='bbox', format_only=True, outfile_prefix=str(tmp_path / 'run'))
    metric.dataset_meta = dict(classes=SHAPES)
    metric.process(None, samples)
    assert metric.evaluate(len(samples)) == {}
    assert {'image_id', 'category_id', 'score', 'bbox'} == set(json.loads((tmp_path / 'run.bbox.json').read_text())[0])


def metric_of(path: str, samples: list[dict], **options) -> dict[str, float]:
    metric = CocoStatsMetric(path, **options)
    metric.dataset_meta = dict(classes=SHAPES)
    metric.process(None, samples)
    return metric.evaluate(len(samples))


@backends
def test_a_part_of_the_images_is_measured_on_that_part(perfect, backend: str) -> None:
    """Objects of images that were not predicted on are no misses."""
    path, samples = perfect
    metrics = metric_of(path, samples[:2], backend=backend)
    assert metrics['coco/bbox_mAP'] == pytest.approx(1) and metrics['coco/segm_AR@100'] == pytest.approx(1)


@backends
def test_an_object_that_is_not_found_is_a_miss(perfect, backend: str) -> None:
    path, samples = perfect
    pred = samples[0]['pred_instances']
    first = sample(
        pred['bboxes'][1:].tolist(), [0.9] * (len(pred['bboxes']) - 1), pred['labels'][1:].tolist(), pred['masks'][1:]
    )
    metrics = metric_of(path, [dict(first, img_id=samples[0]['img_id']), *samples[1:]], backend=backend)
    assert 0.5 < metrics['coco/bbox_AR@100'] < 0.99


@backends
def test_ids_from_zero_and_without_iscrowd(perfect, tmp_path, backend: str) -> None:
    """pycocotools itself takes a match with the object of id 0 for a false one, and fails without iscrowd."""
    path, samples = perfect
    content = json.loads(Path(path).read_text())
    for number, item in enumerate(content['annotations']):
        item['id'] = number
        del item['iscrowd']
    for image in content['images']:
        image['id'] -= 1
    for item in content['annotations']:
        item['image_id'] -= 1
    (tmp_path / 'a.json').write_text(json.dumps(content))
    metrics = metric_of(
        str(tmp_path / 'a.json'), [dict(one, img_id=one['img_id'] - 1) for one in samples], backend=backend, metric=['bbox']
    )
    assert metrics['coco/bbox_mAP'] == pytest.approx(1)


def test_the_ground_truth_is_left_as_it_was() -> None:
    truth = one_image([[0, 0, 20, 20]])
    before = json.dumps(truth)
    coco_stats(truth, [found([0, 0, 20, 20], 0.9)], 'segm')
    assert json.dumps(truth) == before


def test_places_that_cannot_be_written(perfect, tmp_path, monkeypatch) -> None:
    path, samples = perfect
    (tmp_path / 'file').write_text('x')
    for prefix in (str(tmp_path / 'file' / 'run'), 5, str(tmp_path / ('x' * 300) / 'run')):
        with pytest.raises(InputError, match='outfile_prefix: expected a place that can be written'):
            CocoStatsMetric(path, outfile_prefix=prefix)

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('convnext_dense.files.os.replace', full)
    with pytest.raises(InputError, match='run.bbox.json cannot be written .*No space left'):
        metric_of(path, samples, outfile_prefix=str(tmp_path / 'run'))
    assert [file.name for file in tmp_path.iterdir()] == ['file']


@backends
def test_labels_are_positions_in_the_files_order_of_categories(perfect, backend: str) -> None:
    path, samples = perfect
    metric = CocoStatsMetric(path, metric='bbox', backend=backend)
    metric.dataset_meta = dict(classes=('ring', 'disc'))  # a part of the classes; the file's order counts: disc 0, ring 1
    kept = {0: 0, len(SHAPES) - 1: 1}
    for one in samples:
        pred = one['pred_instances']
        rows = [i for i, label in enumerate(pred['labels'].tolist()) if label in kept]
        labels = [kept[int(pred['labels'][i])] for i in rows]
        metric.process(
            None, [sample(pred['bboxes'][rows].tolist(), [0.9] * len(rows), labels, pred['masks'][rows], one['img_id'])]
        )
    assert metric.evaluate(len(samples))['coco/bbox_mAP'] == pytest.approx(1)


def test_wrong_arguments(shapes: str, monkeypatch) -> None:
    path = str(Path(shapes, 'instances_validation.json'))
    with pytest.raises(InputError, match=r"expected 'bbox', 'segm' or both, got \['boxes'\]"):
        CocoStatsMetric(path, metric='boxes')
    with pytest.raises(InputError, match='expected one of pycocotools, faster-coco-eval, got .coco.'):
        CocoStatsMetric(path, backend='coco')
    for wrong in (5, [['bbox']], [], ['bbox', 'boxes'], None):
        with pytest.raises(InputError, match="evaluator metric: expected 'bbox', 'segm' or both"):
            CocoStatsMetric(path, metric=wrong)
    with pytest.raises(InputError, match='ann_file: expected the path of a COCO file, got 5'):
        CocoStatsMetric(5)
    with pytest.raises(InputError, match='format_only: expected outfile_prefix'):
        CocoStatsMetric(path, format_only=True)
    metric = CocoStatsMetric(path)
    with pytest.raises(InputError, match='expected a model that predicts masks'):
        metric.process(
            None, [dict(img_id=1, pred_instances=dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0)))]
        )
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    with pytest.raises(InputError, match='pip install faster-coco-eval'):
        CocoStatsMetric(path, backend='faster-coco-eval')


@pytest.mark.parametrize('prefix', [5, ['a'], True, 'a\0b', 'x' * 300, 'file/run', 'read_only/run'])
def test_places_that_cannot_be_written_to(tmp_path, monkeypatch, prefix) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    (tmp_path / 'read_only').mkdir()
    monkeypatch.setattr('os.access', lambda path, mode: Path(path).name != 'read_only')  # root may write anywhere
    with pytest.raises(InputError, match='outfile_prefix: expected a place that can be written to, got '):
        CocoStatsMetric('a.json', outfile_prefix=prefix)
    CocoStatsMetric('a.json', outfile_prefix='deep/er/run')
    assert not Path('deep').exists()


def test_the_table_by_class_reads_all_areas_and_the_most_detections() -> None:
    precision = np.full((10, 101, 2, 4, 3), 0.125)  # of the areas and detections that the table is not about
    precision[:, :, 0, 0, -1] = np.linspace(0.1, 1, 10)[:, None]  # AP 0.55, AP50 0.1
    precision[:, 50:, 0, 0, -1] = -1  # recalls that do not count
    precision[:, :, 1, 0, -1] = -1
    run = SimpleNamespace(eval=dict(precision=precision), params=SimpleNamespace(catIds=[3, 5]))
    table = _by_class(run, [dict(id=5, name='cat'), dict(id=3, name='dog')])
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
    assert ['dog', '0.550', '0.100'] in rows and ['cat', '-', '-'] in rows
