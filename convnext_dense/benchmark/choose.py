"""Which of the equal paths are faster on this machine: a config's own model, trained for a step and asked for a prediction."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from rich.table import Table
from torch import nn

from convnext_dense.benchmark.contest import DEVICE, finish
from convnext_dense.benchmark.timing import Timing, interleave
from convnext_dense.errors import InputError, last_line
from convnext_dense.recipes import name_of
from convnext_dense.run.nodes import component, leaves, parameters
from convnext_dense.run.preflight import build_on_meta
from convnext_dense.run.settle import settle_norms, settle_pretrained

PLAIN_TYPES = dict(FastConv2d='Conv2d', FastRPNHead='RPNHead', PasteMaskHead='FCNMaskHead')  # which have no option `fused`
WORKS = {'training': 'train', 'prediction': 'test'}
AS_IT_IS = 'config'
NOISE = 0.05  # differences below that are the machine's
OBJECTS = 8  # an image, for detectors


def fused_options(cfg: Config, fused: bool) -> dict[str, Any]:
    """The config entries that put all parts of the model on the faster paths, or all on the plain ones."""
    options: dict[str, Any] = {}
    for path, node in leaves(cfg.model, 'model'):
        cls = node.get('type') if isinstance(node, dict) else None
        made = component(cls, cfg.get('default_scope')) if cls is not None else None
        if inspect.isclass(made) and 'fused' in parameters(made):
            options[f'{path}.fused'] = fused
        elif cls in PLAIN_TYPES and not fused:
            options[f'{path}.type'] = PLAIN_TYPES[cls]
    return options


def choose(cfg: Config, size: tuple[int, int] | None, rounds: int, say: Callable[[str], None]) -> Table:
    """Time the config as it stands, the plain and the fast paths, interleaved, and say which options to set.

    The batch is that of the training loader, of random images of the size that training crops to (or `size`, height and width),
    with random labels; predictions are of one image.

    Raises:
        InputError: for a config without a faster path, or whose model does not take such images.
    """
    cfg = copy.deepcopy(cfg)
    settle_norms(cfg, processes=1)
    if not fused_options(cfg, True):
        raise InputError(f'{cfg.filename}: expected a model with faster paths (a ConvNeXt backbone), found none')
    settle_pretrained(cfg, 'none', needed=True)
    build_on_meta(cfg)  # which says in a line what is wrong with it
    loader = cfg.get('train_dataloader') or {}
    size, batch = size or training_size(loader), loader.get('batch_size', 1)
    models = {name: _model(cfg, options) for name, options in ways(cfg).items()}
    for model in models.values():
        model.load_state_dict(models[AS_IT_IS].state_dict())
    machine = f'{DEVICE}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}'
    say(f'{machine}; images of {size[0]}x{size[1]}, batch {batch} in training')
    table = Table('work', 'paths', 'median s', 'range s', 'times faster')
    for work, command in WORKS.items():
        step = training_step if work == 'training' else prediction
        try:
            with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
                timings, _ = interleave({name: step(model, size, batch) for name, model in models.items()}, rounds)
        except Exception as error:  # of any class: the libraries check little of what they are given
            raise InputError(f'{work}: {type(error).__name__}: {last_line(error)}; name another --size') from error
        for name, timing in timings.items():
            ratio = timings['plain'].median / timing.median
            table.add_row(work, name, f'{timing.median:.3f}', timing.span(3), f'{ratio:.2f}')
        say(f'{work}: {advice(cfg, command, timings)}')
    return table


def ways(cfg: Config) -> dict[str, dict[str, Any]]:
    """What is timed, and the config entries that make it."""
    return {AS_IT_IS: {}, 'plain': fused_options(cfg, False), 'fast': fused_options(cfg, True)}


def advice(cfg: Config, command: str, timings: Mapping[str, Timing]) -> str:
    """The options to set for the fastest way; none where the config as it stands is as fast."""
    best = min(timings, key=lambda name: timings[name].median)
    as_it_is = timings[AS_IT_IS]
    overlap = min(as_it_is.seconds) <= max(timings[best].seconds)  # of the rounds: the machine's noise, not the paths
    if overlap or as_it_is.median <= (1 + NOISE) * timings[best].median:
        return f'nothing to set: the config as it stands is the fastest, or within the noise and {NOISE:.0%} of it'
    options = ' '.join(f'{key}={value}' for key, value in ways(cfg)[best].items())
    gain = timings[AS_IT_IS].median / timings[best].median
    return f'{gain:.2f} times faster with convnext-dense {command} {name_of(cfg.filename)} … --cfg-options {options}'


def training_size(loader: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width that training images have: of the last step that sets it; of a choice, the largest."""
    size = (512, 512)
    for _, step in leaves((loader.get('dataset') or {}).get('pipeline', [])):
        if isinstance(step, dict) and step.get('type') == 'RandomCrop':
            size = tuple(step['crop_size'])
        elif isinstance(step, dict) and (scales := _scales(step)):
            longest = max(scales, key=lambda scale: scale[0] * scale[1])
            size = min(longest), max(longest)  # mmcv takes the longer of the two for the longer side of any image
    return size


def _scales(step: Mapping[str, Any]) -> list[tuple[int, int]]:
    given = step.get('scales') or step.get('scale')
    if step.get('type') not in ('Resize', 'RandomResize', 'RandomChoiceResize') or not isinstance(given, (list, tuple)):
        return []
    return [tuple(scale) for scale in (given if isinstance(given[0], (list, tuple)) else [given])]


def _model(cfg: Config, options: Mapping[str, Any]) -> nn.Module:
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(dict(options))
    torch.manual_seed(0)
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        warnings.simplefilter('ignore')  # of the libraries, about their own arguments
        return MODELS.build(cfg.model).to(DEVICE)


def training_step(model: Any, size: tuple[int, int], batch: int) -> Callable[[], None]:
    """Preprocessing, forward, losses and backward."""
    data = batch_of(model, size, batch)

    def step() -> None:
        model.train()
        model.zero_grad()
        torch.manual_seed(0)  # the same drop path and the same proposals
        loss, _ = model.parse_losses(model(**model.data_preprocessor(copy.deepcopy(data), True), mode='loss'))
        loss.backward()
        finish()

    return step


def prediction(model: Any, size: tuple[int, int], batch: int) -> Callable[[], None]:
    data = batch_of(model, size, 1)

    def step() -> None:
        model.eval()
        with torch.no_grad():
            model(**model.data_preprocessor(copy.deepcopy(data), False), mode='predict')
        finish()

    return step


def batch_of(model: nn.Module, size: tuple[int, int], batch: int) -> dict[str, list[Any]]:
    """Random images as a loader gives them, 0 to 255, with random labels."""
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8)) for _ in range(batch)]
    sample = segmentation_sample if hasattr(model, 'decode_head') else detection_sample
    return dict(inputs=images, data_samples=[sample(rng, model, size) for _ in images])


def segmentation_sample(rng: np.random.Generator, model: Any, size: tuple[int, int]) -> SegDataSample:
    labels = torch.from_numpy(rng.integers(0, model.decode_head.num_classes, (1, *size)))
    return SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(img_shape=size, ori_shape=size))


def detection_sample(rng: np.random.Generator, model: nn.Module, size: tuple[int, int]) -> DetDataSample:
    """OBJECTS boxes of 8 to 64 pixels a side, each with its mask."""
    height, width = size
    sides = rng.integers(8, min(64, *size) + 1, (OBJECTS, 2))
    corners = (rng.random((OBJECTS, 2)) * (np.array([width, height]) - sides)).astype(int)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    masks = np.zeros((OBJECTS, *size), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = 1
    labels = torch.from_numpy(rng.integers(0, min(_classes(model)), OBJECTS))
    objects = InstanceData(bboxes=torch.from_numpy(boxes).float(), labels=labels, masks=BitmapMasks(masks, *size))
    meta = dict(img_shape=size, ori_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
    return DetDataSample(gt_instances=objects, ignored_instances=InstanceData(bboxes=torch.zeros(0, 4)), metainfo=meta)


def _classes(model: nn.Module) -> Iterator[int]:
    """The numbers of classes of a detector's heads; an RPN's one is not the data's."""
    for name, module in model.named_modules():
        if 'rpn_head' not in name and type(getattr(module, 'num_classes', None)) is int:
            yield module.num_classes
