"""COCO's twelve numbers: by hand, by both backends, and against the published ones where the files are there."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from pycocotools import mask as coco_mask

from convnext_dense import InputError
from convnext_dense.data.coco import BACKENDS
from convnext_dense.detection.coco_metric import CocoStatsMetric, _by_class

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
