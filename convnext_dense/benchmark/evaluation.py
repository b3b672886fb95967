"""What is timed of evaluation: COCO's numbers by both backends, and masks pasted and encoded."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.mask import encode_mask_results
from mmengine.config import ConfigDict
from rich.table import Table

from convnext_dense.benchmark.timing import add_rows, interleave
from convnext_dense.data.coco import BACKENDS
from convnext_dense.data.shapes import SPLITS, coco_of, draw_scene, noisy_detections
from convnext_dense.detection import PasteMaskHead
from convnext_dense.detection.coco_metric import coco_stats, encode_masks

SCENES, PER_OBJECT, MASKS = 150, 6, 100


def evaluation(table: Table, rounds: int) -> None:
    """Twelve numbers from thousands of detections; a hundred masks of an image pasted and encoded. Results must be equal."""
    truth = coco_of([draw_scene(0, SPLITS[1], index) for index in range(SCENES)])
    detections = noisy_detections(truth, PER_OBJECT)
    for iou_type in ('bbox', 'segm'):
        rivals = {name: partial(numbers, truth, detections, iou_type, name) for name in BACKENDS}
        timings, stats = interleave(rivals, rounds)
        first, second = stats.values()
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)
        add_rows(table, f'{iou_type} AP of {len(detections)} detections', timings)
    for size in ((480, 640), (1080, 1920)):
        timings, masks = interleave({'mmdet': partial(stock_masks, size), 'ours': partial(our_masks, size)}, rounds)
        if masks['mmdet'] != masks['ours']:
            raise RuntimeError(f'masks differ at {size}')
        add_rows(table, f'{MASKS} masks on {size[0]}x{size[1]}', timings)


def numbers(truth: dict, detections: list, iou_type: str, backend: str) -> np.ndarray:
    return coco_stats(copy.deepcopy(truth), detections, iou_type, backend)[0]


def stock_masks(size: tuple[int, int]) -> list:
    return encode_mask_results(paste(FCNMaskHead, *size).numpy())


def our_masks(size: tuple[int, int]) -> list:
    return encode_masks(paste(PasteMaskHead, *size))


def paste(head_class: type, height: int, width: int) -> torch.Tensor:
    """Random masks of 28x28 pasted into boxes of all sizes, as at the end of a detector's prediction."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.rand(MASKS, 2, generator=generator)
    half = 0.02 + 0.3 * torch.rand(MASKS, 2, generator=generator) ** 2
    boxes = torch.cat([centre - half, centre + half], dim=1).clamp(0, 1) * torch.tensor([width, height, width, height])
    coarse = torch.randn(MASKS, 1, 7, 7, generator=generator)
    logits = 4 * torch.nn.functional.interpolate(coarse, size=(28, 28), mode='bilinear')
    head = head_class(num_convs=0, in_channels=1, conv_out_channels=1, num_classes=1)
    meta = dict(scale_factor=(1.0, 1.0), ori_shape=(height, width))
    labels = torch.zeros(MASKS, dtype=torch.long)
    with torch.no_grad():
        return head._predict_by_feat_single(logits, boxes, labels, meta, ConfigDict(mask_thr_binary=0.5), rescale=True)
