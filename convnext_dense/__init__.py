"""ConvNeXt for MMDetection and MMSegmentation on current PyTorch.

Importing this package answers `mmcv._ext` where mmcv has no compiled one (see `convnext_dense.ops`) and registers:

- the backbones `ConvNeXt`, `RoadmapNet` and `IsotropicConvNeXt` and the neck `SimplePyramid` in mmengine's root registry, so
  that the scopes of mmdet and mmseg find them;
- `mmpretrain.ConvNeXt`, which their own ConvNeXt configs name, where mmpretrain is not installed (`weights.mmpretrain`);
- the optimiser constructor `LayerDecayOptimWrapperConstructor`.

It also allows `torch.load` the few types that mmengine's checkpoints hold beside tensors (`training.checkpoint`), without which
stock scripts cannot resume or test under current PyTorch.

In Python, `load_model` gives a trained model that predicts (`convnext_dense.predict.loading`). Where PyTorch is not
installed, it runs exported files, and nothing else is there.

In a config: `custom_imports = dict(imports=['convnext_dense'])`. What needs MMDetection is in `convnext_dense.detection`.
"""

from typing import TYPE_CHECKING, Any

from convnext_dense.errors import InputError
from convnext_dense.version import __version__

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != 'torch':
        raise
else:
    from convnext_dense import ops

    ops.install()

    from convnext_dense.models.archs import ARCHS, Arch
    from convnext_dense.models.convnext import ConvNeXt
    from convnext_dense.models.isotropic import IsotropicConvNeXt, SimplePyramid
    from convnext_dense.models.roadmap import RoadmapNet
    from convnext_dense.training.layer_decay import LayerDecayOptimWrapperConstructor
    from convnext_dense.weights import mmpretrain
    from convnext_dense.weights.checkpoint_types import allow_checkpoint_types
    from convnext_dense.weights.initializer import StrictPretrainedInit

    allow_checkpoint_types()
    mmpretrain.register()

if TYPE_CHECKING:
    from convnext_dense.predict.loading import load_model


def __getattr__(name: str) -> Any:
    """`load_model`, whose libraries are imported when it is asked for; without PyTorch a line about what needs it."""
    if name == 'load_model':
        from convnext_dense.predict.loading import load_model

        return load_model
    if name in __all__:
        raise ImportError(
            f'convnext_dense.{name} needs torch, which is not installed: install requirements.txt; '
            'without it there is load_model, for exported files (.onnx, .xml)'
        )
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


__all__ = [
    'ARCHS',
    'Arch',
    'ConvNeXt',
    'InputError',
    'IsotropicConvNeXt',
    'LayerDecayOptimWrapperConstructor',
    'RoadmapNet',
    'SimplePyramid',
    'StrictPretrainedInit',
    '__version__',
    'load_model',
    'ops',
]
