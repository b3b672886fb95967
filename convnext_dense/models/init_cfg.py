"""What an `init_cfg` asks for: a published checkpoint, which is loaded strictly, or mmengine's own initialisers."""

from __future__ import annotations

from typing import Any

from mmengine.model import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.text import suggest

STRICT = 'StrictPretrained'  # registered by `weights.initializer`, which knows the layouts


def split_init_cfg(init_cfg: Any) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The initialisers that mmengine runs, and the options of the one that loads a checkpoint, or None.

    Raises:
        InputError: for a value that is neither None, a dict with a known type, nor a list of such; for two checkpoints.
    """
    others: list[dict[str, Any]] = []
    pretrained: list[dict[str, Any]] = []
    for node in init_cfg if isinstance(init_cfg, (list, tuple)) else [] if init_cfg is None else [init_cfg]:
        name = node.get('type') if isinstance(node, dict) else None
        if not isinstance(name, (str, type)):
            raise InputError(f'init_cfg: expected None, a dict with a type, or a list of such; got {brief(init_cfg)}')
        initializer = WEIGHT_INITIALIZERS.get(name) if isinstance(name, str) else name
        if initializer is None:
            known = suggest(str(name), WEIGHT_INITIALIZERS.module_dict)
            raise InputError(f'init_cfg: expected a known initialiser, got {name!r}; {known}')
        (pretrained if initializer is PretrainedInit else others).append(node)
    if len(pretrained) > 1:
        raise InputError(
            f"init_cfg: expected one dict(type='Pretrained', checkpoint=...), got {len(pretrained)}; leave out the others"
        )
    return others, {key: value for key, value in pretrained[0].items() if key != 'type'} if pretrained else None
