"""The config in a checkpoint, read without running it: a checkpoint is data, and says nothing about which code runs.

mmengine writes `name = value` lines of plain values and `dict(...)`; anything else in them is refused. Its registries would
import whatever a `type` with dots names and call it, and some registered classes evaluate a text or open a file that they are
given, so that only the recipes' classes are taken, and their stock counterparts.
"""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.registry import root as registries
from mmengine.registry.registry import Registry

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.run.nodes import dicts

SCOPES = ('mmengine', 'mmcv', 'mmdet', 'mmseg')  # whose classes a checkpoint may name
OWN = 'convnext_dense'
CLASSES = frozenset(
    [
        'AnchorGenerator',
        'BN',
        'CascadeRCNN',
        'CascadeRoIHead',
        'Conv2d',
        'ChannelsDetDataPreprocessor',
        'ConvFCBBoxHead',
        'ConvNeXt',
        'CrossEntropyLoss',
        'DeltaXYWHBBoxCoder',
        'DetDataPreprocessor',
        'EncoderDecoder',
        'FCNHead',
        'FCNMaskHead',
        'FPN',
        'FastConv2d',
        'FastFCNHead',
        'FastRPNHead',
        'FastUPerHead',
        'GELU',
        'GIoULoss',
        'GN',
        'IsotropicConvNeXt',
        'Kaiming',
        'L1Loss',
        'LN',
        'LeanEncoderDecoder',
        'LoadAnnotations',
        'LoadChannels',
        'LoadFolderAnnotations',
        'LoadImageFromFile',
        'MaskRCNN',
        'MaxIoUAssigner',
        'Normal',
        'PackDetInputs',
        'PackSegInputs',
        'PasteMaskHead',
        'Pretrained',
        'RPNHead',
        'RandomFlip',
        'RandomSampler',
        'ReLU',
        'Resize',
        'RoIAlign',
        'RoadmapNet',
        'SegDataPreProcessor',
        'SegTTAModel',
        'Shared2FCBBoxHead',
        'SimplePyramid',
        'SingleRoIExtractor',
        'SmoothL1Loss',
        'StandardRoIHead',
        'SyncBN',
        'TestTimeAug',
        'UPerHead',
        'nms',
        'soft_nms',
    ]
)
OPENING = ('class_weight', 'backend_args', 'file_client_args')  # of which a text or a dict names a file or what opens one
NUMBERS = {'inf': float('inf'), 'nan': float('nan')}
GIVE = 'give the config file that it was trained with'


def parse_config(text: Any) -> Config:
    """A config's text as values.

    Raises:
        InputError: for a text that is no config as mmengine writes it.
    """
    if not isinstance(text, str):
        raise InputError(f'expected a config as text in it, got {type(text).__name__}; {GIVE}')
    try:
        entries = dict(_entry(line) for line in ast.parse(text).body)
        return Config(entries)
    except InputError:
        raise
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise InputError(f'its config cannot be read ({type(error).__name__}: {error}); {GIVE}') from error


def _entry(line: ast.stmt) -> tuple[str, Any]:
    if not isinstance(line, ast.Assign) or len(line.targets) != 1 or not isinstance(line.targets[0], ast.Name):
        raise _refused(line)
    return line.targets[0].id, _value(line.value)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in NUMBERS:
        return NUMBERS[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand)
        if type(value) in (int, float):
            return -value
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)](_value(item) for item in node.elts)
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values) if key is not None}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        return {_name(keyword): _value(keyword.value) for keyword in node.keywords}
    raise _refused(node)


def _name(keyword: ast.keyword) -> str:
    if keyword.arg is None:  # dict(**other)
        raise _refused(keyword.value)
    return keyword.arg


def _refused(node: ast.AST) -> InputError:
    return InputError(f'its config: expected plain values and dict(...), got {brief(ast.unparse(node))}; {GIVE}')


def import_own(cfg: Config) -> list[str]:
    """Import what a checkpoint's config names of this package; the names of other modules, which are not imported."""
    given = cfg.get('custom_imports')
    named = (given.get('imports') if isinstance(given, dict) else given) or []
    others = []
    for module in named if isinstance(named, (list, tuple)) else [named]:
        if isinstance(module, str) and re.fullmatch(rf'{OWN}(\.\w+)*', module):
            try:
                import_module(module)
            except ImportError as error:
                raise InputError(f'its config imports {module}, which this version does not have ({error})') from error
        else:
            others.append(str(module))
    return others


def check_types(nodes: Any, scope: str | None, others: list[str]) -> None:
    """Stop at what a checkpoint's config may not name: any class but CLASSES, another scope, and what would open a file.

    `others` are modules that the config would have imported, for the message.
    """
    if scope not in (None, *SCOPES):
        raise InputError(f'its config: expected default_scope to be one of {", ".join(SCOPES)}, got {brief(scope)}; {GIVE}')
    for node in dicts(nodes):
        for key in node:
            if key == '_scope_' or (key in OPENING and not isinstance(node[key], (type(None), list, tuple))):
                raise InputError(f'its config: {key}={brief(node[key])} is not taken from a checkpoint; {GIVE}')
        cls = node.get('type')
        if cls is None:
            continue
        prefix, _, name = cls.rpartition('.') if isinstance(cls, str) else ('', '', None)
        if prefix not in ('', *SCOPES) or name not in CLASSES:
            hint = f' (it would import {", ".join(others)})' if others else ''
            raise InputError(
                f"its config: {brief(cls)}{hint} is none of the recipes' classes, which alone a checkpoint may name; {GIVE}"
            )


def dataset_meta(name: Any) -> dict[str, Any]:
    """Classes and palette of a registered data set; looked up by its name alone, so that nothing is imported for it."""
    for root in vars(registries).values():
        if isinstance(root, Registry) and isinstance(name, str):
            for registry in (root, *root.children.values()):
                found = registry._module_dict.get(name.rpartition('.')[2])
                if inspect.isclass(found):
                    return getattr(found, 'METAINFO', {})
    return getattr(name, 'METAINFO', {})
