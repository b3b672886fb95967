"""The initialiser by which the backbone loads published weights: `models` names it, so that no model imports the weights."""

from __future__ import annotations

from typing import Any

from mmengine.registry import WEIGHT_INITIALIZERS

from convnext_dense.models.convnext import ConvNeXt
from convnext_dense.models.init_cfg import STRICT
from convnext_dense.models.pyramid import Pretrainable


@WEIGHT_INITIALIZERS.register_module(name=STRICT)
class StrictPretrainedInit:
    """Load a checkpoint of any published layout into a backbone, whole or not at all; options as `load_pretrained`'s."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __call__(self, backbone: Pretrainable) -> None:
        # Imported only where weights are loaded: `import convnext_dense` is cheap.
        from convnext_dense.weights.by_name import load_by_name
        from convnext_dense.weights.load import load_pretrained

        if isinstance(backbone, ConvNeXt):
            load_pretrained(backbone, **self.options)
        else:
            load_by_name(backbone, **self.options)
