"""Exported files for tests: small graphs with the description that `convnext-dense export` writes, and what they give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES, PALETTE = ['cat', 'dog', 'hen'], [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]
STRIDE = 4
WEIGHT = np.array([[1, -2, 0.5], [-1, 1, 1], [0.5, 1, -1.5]], np.float32)
# Objects of the detector's: in shares of the picture's height and width, highest score first; the last place is empty.
BOXES = np.array([[0.1, 0.2, 0.55, 0.7], [0.31, 0.05, 0.9, 0.93], [0.5, 0.5, 0.58, 0.61], [0, 0, 0, 0]], np.float32)
SCORES, LABELS = np.array([0.9, 0.6, 0.2, 0], np.float32), np.array([1, 0, 2, -1])
MASKS = np.random.default_rng(0).random((4, 28, 28)).astype(np.float32)


def description(task: str = 'segmentation', **changes: Any) -> dict[str, Any]:
    """Of a file of pictures of any size, or of a raw one."""
    raw = changes.get('raw', False)
    taken = dict(
        name='image',
        layout='BCHW' if raw else 'BHWC',
        type='float32' if raw else 'uint8',
        colour='RGB',
        size='dynamic',
        batch='dynamic' if task == 'segmentation' else 1,
    )
    return {
        'format': 1,
        'made_by': 'convnext_dense 0.1',
        'checkpoint': 'epoch_1.pth',
        'sha256': '0' * 64,
        'task': task,
        'classes': CLASSES,
        'palette': PALETTE,
        'opset': 20,
        'raw': raw,
        'resize': None,
        'mean': MEAN,
        'std': STD,
        'align_corners': False,
        'masks': 'crop' if task == 'detection' else None,
        'mask_threshold': 0.5,
        'outputs': {},
        **changes,
        'input': taken | changes.get('input', {}),
    }


def write(path: Path, said: dict[str, Any] | None = None, text: str | None = None) -> Path:
    """A graph that does what `said` says, as .onnx, or converted as .xml; with `text` in place of the description."""
    said = said or description()
    make = _segmentor if said['task'] == 'segmentation' else _detector
    model = _model(said, *make(said))
    entry = model.metadata_props.add()
    entry.key, entry.value = 'convnext_dense', json.dumps(said) if text is None else text
    if path.suffix == '.onnx':
        onnx.save(model, path)
        return path
    import openvino

    onnx.save(model, path.with_suffix('.tmp'))
    converted = openvino.Core().read_model(str(path.with_suffix('.tmp')))
    converted.set_rt_info(entry.value, ['convnext_dense'])
    openvino.save_model(converted, path, compress_to_fp16=False)
    return path


def logits_of(image: np.ndarray) -> np.ndarray:
    """What the segmentor gives for a normalised picture (H, W, 3): (K, h, w)."""
    height, width = (side // STRIDE * STRIDE for side in image.shape[:2])
    cells = image[:height, :width].reshape(height // STRIDE, STRIDE, width // STRIDE, STRIDE, 3).mean((1, 3))
    return np.einsum('kc,hwc->khw', WEIGHT, cells)


def normalised(bgr: np.ndarray) -> np.ndarray:
    return (bgr[..., ::-1].astype(np.float32) - np.float32(MEAN)) / np.float32(STD)


def _model(said: dict[str, Any], nodes: list[Any], constants: dict[str, Any], outputs: dict[str, Any]) -> Any:
    size = ['height', 'width'] if said['input']['size'] == 'dynamic' else said['input']['size']
    batch = 'batch' if said['input']['batch'] == 'dynamic' else 1
    shape = [batch, 3, *size] if said['raw'] else [batch, *size, 3]
    kind = TensorProto.FLOAT if said['raw'] else TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        'graph',
        [helper.make_tensor_value_info('image', kind, shape)],
        [helper.make_tensor_value_info(name, kind, [None] * rank) for name, (kind, rank) in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)


def _input(said: dict[str, Any]) -> list[Any]:
    """The picture as `x` (B, 3, H, W), normalised, and its `size` (2,)."""
    node = helper.make_node
    nodes = [node('Identity', ['image'], ['x'])]
    if not said['raw']:
        nodes = [
            node('Cast', ['image'], ['floats'], to=TensorProto.FLOAT),
            node('Transpose', ['floats'], ['first'], perm=[0, 3, 1, 2]),
            node('Sub', ['first', 'mean'], ['centred']),
            node('Div', ['centred', 'std'], ['x']),
        ]
    return [*nodes, node('Shape', ['x'], ['size'], start=2)]


def _constants() -> dict[str, Any]:
    return dict(mean=np.float32(MEAN).reshape(3, 1, 1), std=np.float32(STD).reshape(3, 1, 1))


def _segmentor(said: dict[str, Any]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    node, corners = helper.make_node, said['align_corners']
    one = len(said['classes']) == 2  # a single channel and a threshold
    weight = WEIGHT[:1] if one else WEIGHT
    last = (
        [
            node('Sigmoid', ['large'], ['share']),
            node('Greater', ['share', 'threshold'], ['over']),
            node('Squeeze', ['over', 'first_axis'], ['best']),
        ]
        if one
        else [node('ArgMax', ['large'], ['best'], axis=1, keepdims=0)]
    )
    nodes = [
        *_input(said),
        node('AveragePool', ['x'], ['cells'], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2),
        node('Conv', ['cells', 'weight'], ['logits']),
        node('Shape', ['logits'], ['before'], end=2),
        node('Concat', ['before', 'size'], ['sizes'], axis=0),
        node(
            'Resize',
            ['logits', '', '', 'sizes'],
            ['large'],
            mode='linear',
            coordinate_transformation_mode='align_corners' if corners else 'half_pixel',
        ),
        *last,
        node('Cast', ['best'], ['classes'], to=TensorProto.UINT8),
    ]
    constants = _constants() | dict(weight=weight[:, :, None, None], threshold=np.float32(0.3), first_axis=np.array([1]))
    return nodes, constants, dict(classes=(TensorProto.UINT8, 3), logits=(TensorProto.FLOAT, 4))


def _detector(said: dict[str, Any]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    node = helper.make_node
    nodes = [
        *_input(said),
        node('Gather', ['size', 'swapped'], ['sides']),
        node('Cast', ['sides'], ['scale'], to=TensorProto.FLOAT),
        node('Mul', ['places', 'scale'], ['boxes']),
        *(node('Identity', [f'own_{name}'], [name]) for name in ('scores', 'labels')),
    ]
    outputs = dict(boxes=(TensorProto.FLOAT, 3), scores=(TensorProto.FLOAT, 2), labels=(TensorProto.INT64, 2))
    constants = _constants() | dict(
        swapped=np.array([1, 0, 1, 0]), places=BOXES[None], own_scores=SCORES[None], own_labels=LABELS[None]
    )
    if said['masks'] == 'crop':
        nodes.append(node('Identity', ['own_masks'], ['masks']))
        constants['own_masks'] = MASKS[None]
        outputs['masks'] = (TensorProto.FLOAT, 4)
    elif said['masks'] == 'full':  # where the picture is bright in its first channel
        nodes += [
            node('Gather', ['x', 'zero'], ['red'], axis=1),
            node('Greater', ['red', 'levels'], ['over']),
            node('Cast', ['over'], ['masks'], to=TensorProto.UINT8),
        ]
        constants |= dict(zero=np.array([0]), levels=np.linspace(-1, 1, len(BOXES), dtype=np.float32)[:, None, None])
        outputs['masks'] = (TensorProto.UINT8, 4)
    return nodes, constants, outputs
