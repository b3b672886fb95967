"""mmcv's compiled operators in PyTorch, some by torchvision's kernels, only where mmcv has none.

`mmcv.ops` looks its kernels up in the module `mmcv._ext`. mmcv-lite ships without it, and mmcv's sources do not compile
against current PyTorch. `install()` puts a finder into `sys.meta_path` that is asked for `mmcv._ext` before the file system:
where mmcv was compiled, its operators are in use, given contiguous tensors (`mmcv_ext/compiled.py`); where it was not, or for
another PyTorch, the functions of `mmcv_ext/operators.py` answer. Nothing else is patched.

The entry scripts of MMDetection and MMSegmentation import `mmcv.ops` before they read a config's `custom_imports`. Installing
the package therefore puts `convnext_dense_autoload.pth` into site-packages: one line, which adds such a finder when Python
starts. It opens no file and imports nothing until somebody asks for `mmcv._ext`; then it imports this module.
CONVNEXT_DENSE_AUTOLOAD=0 in the environment switches it off. From a clone that is not installed:
`python -m convnext_dense SCRIPT ARGUMENTS`.

`mmcv_ext/operators.py` answers forward and backward, on CPU and CUDA: nms, soft-nms, roi_align, sigmoid focal
loss, deformable convolution v1 and v2, multi-scale deformable attention, masked convolution, psa_mask, nms_match, CARAFE,
RoI pooling, deformable RoI pooling, box overlaps, softmax focal loss, IoU and NMS of rotated boxes, roi_align of rotated
boxes. Every other operator raises NotImplementedError when called.
"""

from torch import nn

from convnext_dense.mmcv_ext.finder import backend, ext_spec, install
from convnext_dense.mmcv_ext.needed import needed
from convnext_dense.mmcv_ext.operators import OPERATORS

__all__ = ['backend', 'ext_spec', 'install', 'missing']


def missing(model: nn.Module) -> dict[str, str]:
    """Operators of mmcv's that a model will call and nobody answers here, each with the class that leads to it."""
    return {} if backend() == 'mmcv' else {name: where for name, where in needed(model).items() if name not in OPERATORS}
