"""ConvNeXt for MMDetection and MMSegmentation on current PyTorch.

Importing this package answers `mmcv._ext` where mmcv has no compiled one (see `convnext_dense.ops`) and registers:

- the backbone `ConvNeXt` in mmengine's root registry, so that the scopes of mmdet and mmseg find it;
- the optimiser constructor `LayerDecayOptimWrapperConstructor`.

In a config: `custom_imports = dict(imports=['convnext_dense'])`.
"""

from convnext_dense import ops

ops.install()

from convnext_dense.errors import InputError  # noqa: E402
from convnext_dense.models.convnext import ARCHS, Arch, ConvNeXt  # noqa: E402
from convnext_dense.training.layer_decay import LayerDecayOptimWrapperConstructor  # noqa: E402
from convnext_dense.version import __version__  # noqa: E402

__all__ = ['ARCHS', 'Arch', 'ConvNeXt', 'InputError', 'LayerDecayOptimWrapperConstructor', '__version__', 'ops']
