"""What each model of the zoo is fed, and whether it trains and predicts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import detectors
import torch
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from zoo_configs import children
from zoo_detectors import DETECTORS, detector_config
from zoo_segmentors import HEADS, crop_of, segmentor_config

from convnext_dense import ConvNeXt

WORDS = ['cat', 'dog', 'car', 'tree']
STEPS = {'objects': [3, 2], 'an image without': [2, 0], 'no objects': [0, 0]}
SIZES = [(96, 128), (128, 96)]
# Their own pipelines give images of one size: masks of RTMDet and YOLACT are not padded, nor HTC's maps of an eighth, and
# SSD's anchors are made for 300 pixels.
ONE_SIZE = {'rtmdet, masks': 128, 'yolact': 128, 'htc': 128, 'scnet': 128, 'ssd': 300}
SEG_STRIDE = {'htc': 8, 'scnet': 8}

# Untrained, CentripetalNet has no corners that point at each other, and SOLO no mask that is anywhere above one half.
NO_OBJECTS = {'centripetalnet', 'solo'}


class NotLearning(AssertionError):
    """A step whose loss or gradients are not what a step of training needs."""


def detector_case(family: str, stock: bool) -> tuple[nn.Module, Callable[[list[int]], dict], dict]:
    """The model, a batch for a number of objects in each image, and a batch to predict."""
    cfg = detector_config(family, stock)
    with tempfile.TemporaryDirectory() as folder:
        named = next((node for node in (cfg.model, cfg.model.get('detector', {})) if node.get('language_model')), None)
        if named is not None:
            write_bert(Path(folder))
            named.language_model.name = folder
            if 'lang_model_name' in named.get('bbox_head', {}):
                named.bbox_head.lang_model_name = folder
        model = detectors.build(cfg)
    if named is not None:
        meet_transformers(model.language_model)
    masks = loads_masks(cfg.train_dataloader.dataset)
    classes = len(WORDS) if named is not None else number_of_classes(cfg.model)

    def given(sizes: detectors.Sizes, objects: list[int]) -> dict:
        data = detectors.batch(sizes, objects, classes=classes, seg_stride=SEG_STRIDE.get(family, 1))
        for sample in data['data_samples']:
            if named is not None:
                sample.set_metainfo(dict(text=tuple(WORDS), custom_entities=False))
            if not masks:
                del sample.gt_instances.masks
            if family == 'fast_rcnn':
                boxes = torch.cat([sample.gt_instances.bboxes, torch.tensor([[4.0, 4, 60, 50], [30, 20, 90, 90]])])
                sample.proposals = InstanceData(bboxes=boxes, scores=torch.ones(len(boxes)))
        return data

    def train(objects: list[int]) -> dict:
        side = ONE_SIZE.get(family)
        data = given([(side, side)] * 2 if side else SIZES, objects)
        return semi_supervised(data, given) if family == 'soft_teacher' else data

    return model, train, given([(300, 300) if family == 'ssd' else (97, 131)], [0])


def loads_masks(node: Any) -> bool:
    """Whether a pipeline within reads masks; a model is given no more than that."""
    if isinstance(node, dict) and node.get('with_mask', node.get('type') == 'LoadPanopticAnnotations'):
        return True
    return any(map(loads_masks, children(node)))


def number_of_classes(node: Any) -> int:
    """The least that a head is built for."""
    found = [80]
    if isinstance(node, dict):
        found += [node['num_classes']] if isinstance(node.get('num_classes'), int) else []
    return min(found + [number_of_classes(child) for child in children(node)])


def semi_supervised(data: dict, given: Callable[[detectors.Sizes, list[int]], dict]) -> dict:
    """Images with boxes, and the same images twice without, as a teacher and its student see them."""
    branches = dict(sup=data)
    for name in ('unsup_teacher', 'unsup_student'):
        branches[name] = given(SIZES, [0, 0])
        for sample in branches[name]['data_samples']:
            sample.set_metainfo(dict(homography_matrix=torch.eye(3).numpy()))
    return {key: {name: branch[key] for name, branch in branches.items()} for key in data}


def write_bert(folder: Path) -> None:
    """A BERT of one layer that knows the words above, as a folder of transformers."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', '?', *WORDS]
    (folder / 'vocab.txt').write_text('\n'.join(vocabulary))
    BertTokenizerFast(str(folder / 'vocab.txt')).save_pretrained(folder)
    size = dict(vocab_size=len(vocabulary), num_hidden_layers=1, intermediate_size=64)
    BertModel(BertConfig(**size)).save_pretrained(folder)


def meet_transformers(language: nn.Module) -> None:
    """MMDetection's BERT asks transformers 5 in an older way: a tokeniser is called now, and a mask has a place for heads."""
    language.tokenizer.batch_encode_plus = language.tokenizer.__call__

    def widen(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        mask = kwargs['attention_mask']
        return args, {**kwargs, 'attention_mask': mask[:, None] if mask.dim() == 3 else mask}

    language.language_backbone.body.model.register_forward_pre_hook(widen, with_kwargs=True)


def segmentor_case(head: str, stock: bool) -> tuple[nn.Module, Callable[[list[int]], dict], dict]:
    """As for detectors; an image without objects has ignored pixels alone."""
    init_default_scope('mmseg')
    cfg = segmentor_config(head, stock)
    model = MODELS.build(cfg.model)
    if head != 'SideAdapterCLIPHead':  # it has no other than CLIP's published ones
        model.init_weights()
    classes, crop = number_of_classes(cfg.model), crop_of(head)

    def train(objects: list[int]) -> dict:
        drawn = detectors.batch([crop] * 2, objects, classes=classes)
        samples = []
        for detected in drawn['data_samples']:
            sample = SegDataSample(metainfo=detected.metainfo)
            sample.gt_sem_seg = PixelData(data=detected.gt_sem_seg.sem_seg)
            sample.gt_edge_map = PixelData(data=(sample.gt_sem_seg.data == 0).long())  # of PIDNet's pipeline
            sample.gt_depth_map = PixelData(data=torch.rand(1, *crop) + 0.5)
            samples.append(sample)
        return dict(inputs=drawn['inputs'], data_samples=samples)

    picture = detectors.batch([(97, 131) if crop[0] < 131 else crop], [0])
    sample = SegDataSample(metainfo=picture['data_samples'][0].metainfo)
    return model, train, dict(inputs=picture['inputs'], data_samples=[sample])


def case(name: str, stock: bool) -> tuple[nn.Module, Callable[[list[int]], dict], dict]:
    return detector_case(name, stock) if name in DETECTORS else segmentor_case(name, stock)


def check_losses(model: nn.Module, loss: Tensor, learns: bool) -> None:
    """Finite, and so are the gradients; with objects they reach the backbone's first weights."""
    if not loss.isfinite():
        raise NotLearning(f'the loss is {float(loss)}')
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    bad = next((name for name, grad in grads.items() if not grad.isfinite().all()), None)
    if bad is not None:
        raise NotLearning(f'the gradient of {bad} is not finite')
    stems = [
        module.downsample_layers[0][0].weight.grad
        for name, module in model.named_modules()
        if isinstance(module, ConvNeXt) and 'teacher' not in name
    ]
    # Others freeze their first stages.
    first = stems or [grad for name, grad in grads.items() if 'backbone' in name and 'teacher' not in name]
    if learns and not any(grad is not None and grad.abs().sum() > 0 for grad in first):
        raise NotLearning('no gradient reaches the backbone')


def check_prediction(result: Any, objects: bool = True) -> None:
    """Boxes, masks, scores and maps are there and finite, where it is `objects` at least one of them."""
    found = 0
    if objects and hasattr(result, 'pred_instances') and not len(result.pred_instances):
        raise NotLearning('no object is predicted')
    for field in ('pred_instances', 'pred_panoptic_seg', 'pred_sem_seg', 'seg_logits', 'pred_depth_map'):
        data = getattr(result, field, None)
        for key, value in data.items() if data is not None else ():
            found += 1
            if isinstance(value, Tensor) and not value.isfinite().all():
                raise NotLearning(f'{field}.{key} is not finite')
    if not found:
        raise NotLearning('the prediction is empty')


def try_model(name: str, stock: bool, report: Callable[[str], None]) -> None:
    """Built, three training steps by AdamW, and a prediction; `report` is told what begins. Raises what the model raises."""
    torch.manual_seed(0)
    report('built')
    for key in ('epoch', 'iter'):
        MessageHub.get_current_instance().update_info(key, 0)  # as a runner does
    model, train, picture = case(name, stock)
    model = revert_sync_batchnorm(model)
    model.train()  # some of mmdet's return nothing
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    for step, objects in STEPS.items():
        report(step)
        optimizer.zero_grad()
        check_losses(model, detectors.loss_of(model, train(objects)), learns=step == 'objects')
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    report('predicts')
    model.eval()
    with torch.no_grad():
        (result,) = model.test_step(picture)
    check_prediction(result, objects=not stock and name not in NO_OBJECTS)


assert not DETECTORS.keys() & HEADS.keys()
