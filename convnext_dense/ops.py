"""mmcv's compiled operators from torchvision's kernels, only where mmcv has none.

`mmcv.ops` looks its kernels up in the module `mmcv._ext`. mmcv-lite ships without it, and mmcv's sources do not compile
against current PyTorch. `install()` appends a finder to `sys.meta_path` that answers `mmcv._ext` after every other finder
has passed, so a compiled `_ext` always wins and is left untouched. Nothing else is patched.

The entry scripts of MMDetection and MMSegmentation import `mmcv.ops` before they read a config's `custom_imports`. Installing
the package therefore puts `convnext_dense_autoload.pth` into site-packages: one line, which appends such a finder when Python
starts. It opens no file and imports nothing until somebody asks for `mmcv._ext` and nobody else has it; then it imports this
module. CONVNEXT_DENSE_AUTOLOAD=0 in the environment switches it off. From a clone that is not installed:
`python -m convnext_dense SCRIPT ARGUMENTS`.

`mmcv_ext/operators.py` answers forward and backward, on CPU and CUDA: nms, soft-nms, roi_align (average), sigmoid focal
loss, deformable convolution v1 and v2, multi-scale deformable attention, masked convolution, psa_mask, nms_match, CARAFE,
RoI pooling, deformable RoI pooling, box overlaps, softmax focal loss, IoU and NMS of rotated boxes, roi_align of rotated
boxes. Every other operator raises NotImplementedError when called.
"""

from convnext_dense.mmcv_ext.finder import backend, ext_spec, install

__all__ = ['backend', 'ext_spec', 'install']
