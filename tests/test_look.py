"""Predictions and truths of data samples, drawn over their pictures."""

from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from models import photograph, write_photograph

from convnext_dense.data.bands import shown_picture
from convnext_dense.report.look import Names, annotated, names_of, predicted

NAMES = Names(('a', 'b'), ((255, 0, 0), (0, 0, 255)))


def test_names() -> None:
    assert names_of(dict(classes=('a', 'b'), palette=[[255, 0, 0], [0, 0, 255]])) == NAMES
    made = names_of(dict(classes=('a', 'b')))
    assert made == names_of(dict(classes=('a', 'b'), palette=[[1, 2, 3]])) and len(set(made.palette)) == 2
    assert names_of({}) == Names((), ())


def test_classes_of_pixels() -> None:
    rgb = np.zeros((2, 2, 3), np.uint8)
    sample = SegDataSample(metainfo=dict(img_path='x.png'))
    sample.pred_sem_seg = PixelData(data=torch.tensor([[[0, 1], [1, 0]]]))
    assert predicted(sample, rgb, NAMES)[0].tolist() == [[128, 0, 0], [0, 0, 128]] and annotated(sample, rgb, NAMES) is None
    sample.gt_sem_seg = PixelData(data=torch.tensor([[[0, 255], [1, 0]]]))
    shown = annotated(sample, rgb, NAMES)
    assert shown is not None and shown[0].tolist() == [[128, 0, 0], [0, 0, 0]]
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 1, 1, dtype=torch.long))
    assert annotated(sample, rgb, NAMES) is None  # of another size


def test_objects() -> None:
    rgb = np.zeros((60, 60, 3), np.uint8)
    sample = DetDataSample(metainfo=dict(img_path='x.png', scale_factor=(2.0, 2.0)))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[5.0, 5, 30, 30], [40, 40, 50, 50]]), scores=torch.tensor([0.9, 0.1]), labels=torch.tensor([0, 1])
    )
    shown = predicted(sample, rgb, NAMES)
    assert (shown[20:30, 30] == (255, 0, 0)).all() and not shown[40:51, 40:51].any()
    sample.pred_instances.masks = torch.zeros(2, 60, 60, dtype=torch.bool)
    sample.pred_instances.masks[0, 25:29, 20:29] = True
    assert (predicted(sample, rgb, NAMES)[26, 22:28] > 100).any()
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[80.0, 80, 100, 100]]), labels=torch.tensor([1]))
    truth = annotated(sample, rgb, NAMES)
    assert truth is not None and (truth[45:50, 50] == (0, 0, 255)).all()


def test_pictures(tmp_path: Path) -> None:
    path = write_photograph(tmp_path / 'a.png', 20, 30)
    assert (shown_picture(str(path)) == photograph(20, 30)).all()
    np.save(tmp_path / 'a.npy', np.random.default_rng(0).random((20, 30, 5)).astype(np.float32))
    assert shown_picture(str(tmp_path / 'a.npy'), channels=5).shape == (20, 30, 3)
