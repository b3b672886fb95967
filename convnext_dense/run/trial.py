"""One sample of a data set, through its pipeline, the model's preprocessor and the shapes of the model's heads."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import PretrainedInit, initialize
from mmengine.registry import MODELS
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils.data import DataLoader

from convnext_dense.detection.coco_metric import STATS, CocoStatsMetric
from convnext_dense.errors import InputError, last_line
from convnext_dense.kernels.compiling import shapes_alone
from convnext_dense.models.pyramid import Pretrainable

# What the models ask of a sample's meta data: to predict at the original size, and a detector to keep boxes within the image.
META_OF_PREDICTION = {SegDataSample: ('ori_shape', 'img_shape'), DetDataSample: ('ori_shape', 'img_shape', 'scale_factor')}
META_OF_TRAINING = {DetDataSample: ('img_shape',)}


@contextmanager
def part(name: str, what: str = 'cannot be built from this config') -> Iterator[None]:
    """Whatever is raised within becomes a line about this part of the config."""
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise InputError(f'{name}: {what}: {type(error).__name__}: {last_line(error)}; check its entries') from error


def first_batch(loader: DataLoader) -> Any:
    """The data set's first samples, as many as a batch has: images of different sizes must go together."""
    size = getattr(loader.batch_sampler, 'batch_size', loader.batch_size) or 1
    dataset: Any = loader.dataset
    return loader.collate_fn([dataset[i] for i in range(min(size, len(dataset)))])


def try_metrics(evaluator: Evaluator, name: str, batch: Any, dataset: Any) -> list[str] | None:
    """What the metrics are called, or None where a metric does not tell.

    A mask is measured against itself: IoUMetric asks what its metrics are called only after the first evaluation. A file of
    annotations that a metric reads only then must be there.
    """
    for metric in evaluator.metrics:
        file = getattr(metric, 'ann_file', None)
        if isinstance(file, str) and not os.path.isfile(file):
            raise InputError(
                f'{type(metric).__name__}.ann_file: expected a COCO annotation file, got {file} which is not there'
            )
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if samples and any(hasattr(metric, 'ann_file') or hasattr(metric, '_coco_api') for metric in evaluator.metrics):
        _check_meta(name, samples, {DetDataSample: ('img_id',)})
    sample = copy.deepcopy(samples[0]) if samples else None
    of_coco = [metric for metric in evaluator.metrics if isinstance(metric, CocoStatsMetric)]
    names = [f'{metric.prefix}/{iou_type}_{stat}' for metric in of_coco for iou_type in metric.metrics for stat in STATS]
    if sample is None or 'gt_sem_seg' not in sample:
        return names if len(of_coco) == len(evaluator.metrics) else None
    sample.pred_sem_seg = sample.gt_sem_seg
    sample.pred_sem_seg.data = sample.gt_sem_seg.data.clamp(max=len(dataset.metainfo.get('classes') or ()) - 1)
    own = [metric for metric in evaluator.metrics if isinstance(metric, IoUMetric) and not metric.output_dir]
    names = []
    for metric in own:
        metric.process({}, [sample.to_dict()])
        if not metric.metrics:
            raise InputError("evaluator: expected iou_metrics such as ['mIoU'], got none: nothing would be measured")
        names += [key if '/' in key or not metric.prefix else f'{metric.prefix}/{key}' for key in metric.evaluate(1)]
    return names if len(own) == len(evaluator.metrics) else None


def check_sample(cfg: Config, name: str, model: nn.Module, batch: Any, training: bool) -> None:
    whole = cfg.model.get('module') or cfg.model  # out of test-time augmentation
    spec = whole.get('data_preprocessor') or cfg.get('data_preprocessor')
    if spec is None:
        return
    if not isinstance(batch, dict) or 'inputs' not in batch:
        got = ', '.join(map(str, batch)) if isinstance(batch, dict) else type(batch).__name__
        raise InputError(
            f'{name}.dataset.pipeline: expected samples with inputs and data_samples, got {got}; '
            'end it with PackSegInputs or PackDetInputs'
        )
    if isinstance(batch['inputs'][0], (list, tuple)):  # its first view
        batch = {key: value[0] for key, value in batch.items()}
    samples = batch.get('data_samples') or ()
    _check_meta(name, samples, META_OF_TRAINING if training else META_OF_PREDICTION)
    if not training and any(hook.get('type') == 'SavePicturesHook' for hook in cfg.get('custom_hooks') or ()):
        _check_meta(name, samples, dict.fromkeys(META_OF_PREDICTION, ('img_path',)))
    with part('model.data_preprocessor'):
        inputs = MODELS.build(copy.deepcopy(spec))(batch, training)['inputs']
    if not isinstance(inputs, Tensor):
        return
    if not torch.isfinite(inputs).all():
        raise InputError(
            f'model.data_preprocessor: expected images of finite numbers, got NaN or infinity from the first of {name}; check '
            f'mean={spec.get("mean")} and std={spec.get("std")}, whose entries must be above 0'
        )
    backbone, own = getattr(model, 'backbone', None), inputs.shape[1]
    wanted = backbone.stem.in_channels if isinstance(backbone, Pretrainable) else own
    if wanted != own:
        raise InputError(
            f'model.backbone.in_channels: expected {own}, the channels of the images of {name}; got {wanted}; '
            f'set model.backbone.in_channels={own}, or load the images with {wanted} channels'
        )
    if hasattr(model, 'extract_feat') and not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules()):
        with part(f'model, on an image of {tuple(inputs.shape[2:])} pixels of {name}'), torch.no_grad(), shapes_alone():
            _check_shapes(model.eval(), inputs.to('meta'))


def _check_meta(name: str, samples: Sequence[Any], needed: Mapping[type, tuple[str, ...]]) -> None:
    """Models look the entries up at the first prediction, which may be hours away."""
    for sample in samples:
        missing = [key for key in needed.get(type(sample), ()) if key not in sample.metainfo_keys()]
        if missing:
            raise InputError(
                f'{name}.dataset.pipeline: expected meta_keys of its last transform with {", ".join(missing)}, which are read '
                f'later; got {", ".join(map(str, sample.metainfo_keys())) or "none"}; add them, or leave meta_keys out'
            )


def _check_shapes(model: Any, image: Tensor) -> None:
    """The image's shape through every head: convolutions and linear layers refuse channels that are not theirs."""
    maps = model.extract_feat(image)
    for name in ('decode_head', 'auxiliary_head', 'rpn_head'):
        head = getattr(model, name, None)
        for one in head if isinstance(head, nn.ModuleList) else [head] if isinstance(head, nn.Module) else []:
            out = one(maps)
            anchors = getattr(one, 'prior_generator', None)
            if anchors is not None and anchors.num_levels != len(out[0]):
                levels = anchors.num_levels
                raise InputError(f'model.{name}.anchor_generator: expected strides for {len(out[0])} maps, got {levels}')
            if anchors is not None:
                _check_strides(f'model.{name}.anchor_generator.strides', anchors.strides, out[0], image)
    roi_head = getattr(model, 'roi_head', None)
    for branch in ('bbox', 'mask'):
        extractors: Any = getattr(roi_head, f'{branch}_roi_extractor', None)
        heads = getattr(roi_head, f'{branch}_head', None)
        pairs = zip(extractors, heads) if isinstance(heads, nn.ModuleList) else [(extractors, heads)]
        for extractor, head in pairs:
            if getattr(extractor, 'roi_layers', None) is None or head is None:
                continue
            if len(extractor.featmap_strides) > len(maps) or any(m.shape[1] != extractor.out_channels for m in maps):
                given = f'{[m.shape[1] for m in maps]} channels'
                raise InputError(
                    f'model.roi_head.{branch}_roi_extractor: expected out_channels and featmap_strides of the maps of neck, '
                    f'{given}; got out_channels={extractor.out_channels}, featmap_strides={extractor.featmap_strides}'
                )
            _check_strides(f'model.roi_head.{branch}_roi_extractor.featmap_strides', extractor.featmap_strides, maps, image)
            out = head(image.new_empty(1, extractor.out_channels, *extractor.roi_layers[0].output_size))
            if branch == 'mask':
                _check_mask_size(roi_head, out)


def _check_strides(key: str, strides: Sequence[Any], maps: Sequence[Tensor], image: Tensor) -> None:
    """A stride must be the image's side over the map's, but for what rounding adds or takes."""
    for i, (stride, one) in enumerate(zip(strides, maps)):
        across, down = stride if isinstance(stride, (tuple, list)) else (stride, stride)
        for step, side, own in ((down, image.shape[2], one.shape[2]), (across, image.shape[3], one.shape[3])):
            if not (step > 0 and abs(side / step - own) <= 1):
                raise InputError(f'{key}: expected {side / own:g} for map {i}, of {own} pixels for {side}; got {step}')


def _check_mask_size(roi_head: Any, out: Tensor) -> None:
    """The mask head's side must be that of its targets."""
    stages = roi_head.train_cfg or []
    for stage in stages if isinstance(stages, list) else [stages]:
        if stage.get('mask_size', out.shape[-1]) != out.shape[-1]:
            raise InputError(
                f'model.train_cfg.rcnn.mask_size: expected {out.shape[-1]}, the side of the masks that the head predicts; '
                f'got {stage.mask_size}; set it, or the output_size of mask_roi_extractor'
            )


def check_box_coders(model: nn.Module) -> None:
    """Stop at means and deviations of box offsets by which a box does not come back: encoded, then decoded."""
    box = torch.tensor([[8.0, 8.0, 24.0, 40.0]])
    for name, module in model.named_modules():
        coder: Any = getattr(module, 'bbox_coder', None)
        if type(coder) is DeltaXYWHBBoxCoder:
            with part(f'model.{name}.bbox_coder'):
                back = coder.decode(box, coder.encode(box, box))
            if back.shape != box.shape or not torch.allclose(back, box, atol=0.1):
                raise InputError(
                    f'model.{name}.bbox_coder: expected four target_means and target_stds above 0 by which boxes are encoded '
                    f'and decoded again, got {coder.means} and {coder.stds}'
                )


def check_init(model: nn.Module) -> None:
    """Stop at an `init_cfg` that initialises nothing; those that read weights are checked with the weights."""
    for module in model.modules():
        given = getattr(module, 'init_cfg', None) or []
        initialisers = [
            one
            for one in (given if isinstance(given, list) else [given])
            if one.get('type') not in ('Pretrained', PretrainedInit)
        ]
        if initialisers:
            with part(f'init_cfg of {type(module).__name__}'):
                initialize(module, copy.deepcopy(initialisers))
