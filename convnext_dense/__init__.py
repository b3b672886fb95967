"""ConvNeXt for MMDetection and MMSegmentation on current PyTorch.

Importing this package answers `mmcv._ext` where mmcv has no compiled one (see `convnext_dense.ops`) and registers:

- the backbone `ConvNeXt` in mmengine's root registry, so that the scopes of mmdet and mmseg find it;
- the optimiser constructor `LayerDecayOptimWrapperConstructor`.

It also allows `torch.load` the few types that mmengine's checkpoints hold beside tensors (`training.checkpoint`), without which
stock scripts cannot resume or test under current PyTorch.

In a config: `custom_imports = dict(imports=['convnext_dense'])`. What needs MMDetection is in `convnext_dense.detection`.
"""

from convnext_dense import ops

ops.install()

from convnext_dense.errors import InputError  # noqa: E402
from convnext_dense.models.archs import ARCHS, Arch  # noqa: E402
from convnext_dense.models.convnext import ConvNeXt  # noqa: E402
from convnext_dense.training.layer_decay import LayerDecayOptimWrapperConstructor  # noqa: E402
from convnext_dense.version import __version__  # noqa: E402
from convnext_dense.weights.checkpoint_types import allow_checkpoint_types  # noqa: E402
from convnext_dense.weights.initializer import StrictPretrainedInit  # noqa: E402

allow_checkpoint_types()

__all__ = [
    'ARCHS',
    'Arch',
    'ConvNeXt',
    'InputError',
    'LayerDecayOptimWrapperConstructor',
    'StrictPretrainedInit',
    '__version__',
    'ops',
]
