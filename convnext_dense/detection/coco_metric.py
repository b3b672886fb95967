"""COCO's twelve numbers for boxes and masks, by pycocotools or by faster-coco-eval, which computes the same in less time."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask
from rich.table import Table

from convnext_dense.data.coco import BACKENDS, brief, read_coco
from convnext_dense.errors import InputError
from convnext_dense.files import partial_file
from convnext_dense.text import table_text

# pycocotools' order of COCOeval.stats, under the names of mmdet's metric.
STATS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@1', 'AR@10', 'AR@100', 'AR_s@100', 'AR_m@100', 'AR_l@100')
TYPES = ('bbox', 'segm')


def encode_masks(masks: torch.Tensor) -> list[dict[str, Any]]:
    """(N, H, W) bool masks as N run-length dicts, as pycocotools encodes them; free of copies for column-ordered memory."""
    columns = np.ascontiguousarray(masks.detach().cpu().transpose(1, 2).numpy()).view(np.uint8)  # (N, W, H)
    # One at a time: pycocotools keeps a buffer of four bytes a pixel for each mask of a call.
    return [coco_mask.encode(mask.T[:, :, None])[0] for mask in columns]


def coco_stats(
    ground_truth: dict[str, Any],
    detections: Sequence[dict[str, Any]],
    iou_type: str,
    backend: str = 'pycocotools',
) -> tuple[np.ndarray, Any]:
    """The twelve numbers of COCO's detection evaluation, and the evaluator that computed them.

    Args:
        ground_truth: the content of a COCO annotation file.
        detections: `image_id`, `category_id`, `score`, and `bbox` (x, y, width, height) or `segmentation` each. For 'segm' a
            `bbox` is dropped, so that sizes are those of the masks.
        iou_type: 'bbox' or 'segm'.
        backend: one of `BACKENDS`.

    Numbers that no object counts for (an area range without ground truth) are -1.
    """
    api, evaluator = _backend(backend)
    with contextlib.redirect_stdout(io.StringIO()):  # both print their progress
        truth = api()
        # pycocotools takes a match with the annotation of id 0 for none, and asks for `iscrowd`, which may be left out.
        annotations = [
            {**item, 'id': number, 'iscrowd': int(item.get('iscrowd', 0))}
            for number, item in enumerate(ground_truth['annotations'], 1)
        ]
        truth.dataset = {key: ground_truth[key] for key in ('images', 'categories')} | {'annotations': annotations}
        truth.createIndex()
        found = api()
        if detections:
            keep = ('image_id', 'category_id', 'score', 'bbox' if iou_type == 'bbox' else 'segmentation')
            found = truth.loadRes([{key: item[key] for key in keep} for item in detections])
        else:  # pycocotools cannot load an empty list
            found.dataset = {**truth.dataset, 'annotations': []}
            found.createIndex()
        run = evaluator(truth, found, iou_type)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.asarray(run.stats[: len(STATS)], dtype=np.float64), run


def _backend(name: str) -> tuple[type, type]:
    """The COCO and COCOeval classes of a backend."""
    if name == 'pycocotools':
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        return COCO, COCOeval
    if name == 'faster-coco-eval':
        try:
            import faster_coco_eval
        except ImportError as error:
            raise InputError(
                "backend 'faster-coco-eval': expected the package faster-coco-eval, which is not installed; "
                "pip install faster-coco-eval, or take backend 'pycocotools'"
            ) from error
        return faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster
    raise InputError(f'evaluator backend: expected one of {", ".join(BACKENDS)}, got {name!r}')


@METRICS.register_module()
class CocoStatsMetric(BaseMetric):
    """Twelve numbers where mmdet's CocoMetric gives six, a choice of backend, masks encoded without transposing each image.

    Args:
        ann_file: the COCO file that the predictions are compared with.
        metric: 'bbox', 'segm' or both.
        backend: 'pycocotools', the reference, or 'faster-coco-eval'.
        classwise: also log AP and AP50 of each class.
        outfile_prefix: write the detections to PREFIX.{bbox,segm}.json, as the evaluation server takes them.
        format_only: write them and compute nothing (for images without published annotations).

    Returns (through mmengine's evaluator) `coco/bbox_mAP`, `coco/bbox_mAP_50`, … `coco/segm_AR_l@100`, in [0, 1], or -1 where
    no object counts for a number.
    """

    default_prefix: ClassVar[str] = 'coco'

    def __init__(
        self,
        ann_file: str,
        metric: str | Sequence[str] = TYPES,
        backend: str = 'pycocotools',
        classwise: bool = False,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        metrics: list[Any] = list(metric) if isinstance(metric, (list, tuple)) else [metric]
        if not metrics or any(iou_type not in TYPES for iou_type in metrics):
            raise InputError(f"evaluator metric: expected 'bbox', 'segm' or both, got {metrics}")
        if not isinstance(ann_file, str):
            raise InputError(f'evaluator ann_file: expected the path of a COCO file, got {brief(ann_file)}')
        if format_only and outfile_prefix is None:
            raise InputError('evaluator format_only: expected outfile_prefix, the place to write to; got none')
        if outfile_prefix is not None:
            _check_prefix(outfile_prefix)
        _backend(backend)
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = metrics
        self.classwise = classwise
        self.ann_file = ann_file
        self.backend = backend
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep each image's detections as COCO writes them; masks as run lengths at once, so that no image map is held."""
        for sample in data_samples:
            pred = sample['pred_instances']
            boxes, scores, labels = (pred[key].detach().cpu() for key in ('bboxes', 'scores', 'labels'))
            boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)
            result: dict[str, Any] = dict(img_id=sample['img_id'], scores=scores.tolist(), labels=labels.tolist())
            result['boxes'] = boxes.tolist()
            if 'segm' in self.metrics:
                if 'masks' not in pred:
                    raise InputError(
                        "evaluator metric 'segm': expected a model that predicts masks, got boxes alone; metric='bbox'"
                    )
                masks = pred['masks']
                result['masks'] = encode_masks(masks) if isinstance(masks, torch.Tensor) else masks
                result['mask_scores'] = pred['mask_scores'].tolist() if 'mask_scores' in pred else result['scores']
            self.results.append(result)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """The twelve numbers for each type."""
        content = read_coco.__wrapped__(Path(self.ann_file))  # not kept in memory
        # A run on a part of the images or classes is measured on that part; the evaluators pass over other annotations.
        truth = part_of(content, {result['img_id'] for result in results}, self.dataset_meta['classes'])
        ids = [category['id'] for category in truth['categories']]
        metrics: dict[str, float] = {}
        for iou_type in self.metrics:
            detections = _detections(results, ids, iou_type)
            if self.outfile_prefix is not None:
                _write(Path(f'{self.outfile_prefix}.{iou_type}.json'), detections)
            if self.format_only:
                continue
            stats, run = coco_stats(truth, detections, iou_type, self.backend)
            metrics |= {f'{iou_type}_{name}': float(value) for name, value in zip(STATS, stats)}
            if self.classwise:
                MMLogger.get_current_instance().info(f'{iou_type} by class\n{_by_class(run, truth["categories"])}')
        return metrics


def part_of(content: dict[str, Any], seen: set[int], names: Sequence[str]) -> dict[str, Any]:
    """A COCO file's content with the images of the ids `seen` and the classes `names`; annotations as they are."""
    images = [image for image in content['images'] if image['id'] in seen]
    return {**content, 'images': images, 'categories': [one for one in content['categories'] if one['name'] in names]}


def _check_prefix(prefix: Any) -> None:
    """Known before the hours of testing: whether its files can be written."""
    try:
        path = Path(f'{prefix}.{TYPES[0]}.json.12345678.partial')
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name that no file can have
        folder = next(parent for parent in path.parents if os.path.lexists(parent))
        writable = isinstance(prefix, str) and folder.is_dir() and os.access(folder, os.W_OK)
    except (OSError, ValueError):
        writable = False
    if not writable:
        raise InputError(
            f'evaluator outfile_prefix: expected a place that can be written to, got {brief(prefix)}; name another'
        )


def _write(path: Path, detections: list[dict[str, Any]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_file(path) as partial:
            partial.write_text(json.dumps(detections))
    except OSError as error:
        raise InputError(f'evaluator outfile_prefix: {path} cannot be written ({error}); name another place') from error


def _detections(results: Sequence[dict[str, Any]], ids: Sequence[int], iou_type: str) -> list[dict[str, Any]]:
    rows = []
    for result in results:
        scores = result['scores' if iou_type == 'bbox' else 'mask_scores']
        for i, (label, score) in enumerate(zip(result['labels'], scores)):
            row = dict(image_id=result['img_id'], category_id=ids[label], score=score)
            if iou_type == 'bbox':
                row['bbox'] = result['boxes'][i]
            else:
                mask = result['masks'][i]
                counts = mask['counts']
                row['segmentation'] = dict(mask, counts=counts.decode() if isinstance(counts, bytes) else counts)
            rows.append(row)
    return rows


def _by_class(run: Any, categories: Sequence[dict[str, Any]]) -> str:
    precision = np.asarray(run.eval['precision'])  # (IoU, recall, class, area, detections)
    names = {category['id']: category['name'] for category in categories}
    table = Table('class', 'AP', 'AP50')
    for index, category in enumerate(run.params.catIds):
        cells = []
        for part in (precision[:, :, index, 0, -1], precision[0, :, index, 0, -1]):
            part = part[part > -1]
            cells.append(f'{part.mean():.3f}' if part.size else '-')
        table.add_row(names[category], *cells)
    return table_text(table)
