"""mmcv's own CPU kernels, compiled from the sources that mmcv-lite ships, as a reference for ours.

    make compiled-operators

builds them once, in four minutes of one core, into .compiled_operators/ (or $CONVNEXT_DENSE_COMPILED_OPERATORS), which git
ignores; tests/test_compiled_operators.py compares. mmcv as a whole does not compile against current PyTorch; these few
files do.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import platform
import sys
from pathlib import Path
from types import ModuleType

import torch

ROOT = Path(__file__).resolve().parents[1]
NAME = 'mmcv_cpu_operators'
# Files of mmcv/ops/csrc/pytorch that are one translation unit; the headers of PyTorch are most of each one's time. psamask
# comes last: it defines min and max as macros.
DISPATCH = 'nms roi_align deform_conv modulated_deform_conv bbox_overlaps box_iou_rotated nms_rotated roi_align_rotated psamask'
KERNELS = {
    'kernels': 'nms deform_conv modulated_deform_conv bbox_overlaps box_iou_rotated nms_rotated psamask',
    'align': 'roi_align',
    'align_rotated': 'roi_align_rotated',
}
FILES = {'bbox_overlaps': 'bbox_overlaps_cpu'}  # where the kernel's file has another name
OPERATORS = [
    'nms',
    'softnms',
    'nms_match',
    'roi_align_forward',
    'roi_align_backward',
    'deform_conv_forward',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'modulated_deform_conv_forward',
    'modulated_deform_conv_backward',
    'psamask_forward',
    'psamask_backward',
    'bbox_overlaps',
    'box_iou_rotated',
    'nms_rotated',
    'roi_align_rotated_forward',
    'roi_align_rotated_backward',
]
# What ours take as **k, in the order of mmcv's functions.
GEOMETRY_1 = 'kW kH dW dH padW padH dilationW dilationH group deformable_group'
GEOMETRY_2 = 'kernel_h kernel_w stride_h stride_w pad_h pad_w dilation_h dilation_w group deformable_group'
# Dropped from PyTorch, or about to be.
PRELUDE = """
#include <torch/extension.h>
#ifndef AT_ASSERTM
#define AT_ASSERTM(condition, ...) TORCH_CHECK(condition, __VA_ARGS__)
#endif
#ifndef AT_ERROR
#define AT_ERROR(...) TORCH_CHECK(false, __VA_ARGS__)
#endif
"""


def folder() -> Path:
    """Where the library of this PyTorch and this Python is, or will be."""
    base = Path(os.environ.get('CONVNEXT_DENSE_COMPILED_OPERATORS') or ROOT / '.compiled_operators')
    return base / f'torch-{torch.__version__}-python-{platform.python_version()}'


def load() -> ModuleType | None:
    """The compiled operators, None where they have not been built for this PyTorch."""
    path = folder() / f'{NAME}.so'
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(operator: str) -> list[str]:
    """The names of an operator's arguments in the order of mmcv's C++ function."""
    from convnext_dense.mmcv_ext.operators import OPERATORS as OURS

    names = [name for name in inspect.signature(OURS[operator]).parameters if name not in ('k', 'scale', 'with_bias')]
    if operator.startswith('deform_conv'):
        scale = ['scale'] if operator.endswith('parameters') else []
        return [*names, *GEOMETRY_1.split(), *scale, 'im2col_step']
    return [*names, *GEOMETRY_2.split(), 'with_bias'] if operator.startswith('modulated') else names


def sources() -> dict[str, str]:
    """File name -> C++: mmcv's files by their path, and a binding of them."""
    import mmcv

    csrc = Path(mmcv.__file__).parent / 'ops/csrc/pytorch'
    binding = '\n'.join(
        f'  m.def("{name}", &{name}, {", ".join(f"""py::arg("{argument}")""" for argument in arguments(name))});'
        for name in OPERATORS
    )
    texts = {
        unit: '\n'.join(f'#include "{csrc}/cpu/{FILES.get(name, name)}.cpp"' for name in names.split())
        for unit, names in KERNELS.items()
    }
    dispatch = '\n'.join(f'#include "{csrc}/{name}.cpp"' for name in DISPATCH.split())
    texts['binding'] = f'{dispatch}\nPYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {{\n{binding}\n}}'
    return {f'{unit}.cpp': PRELUDE + text + '\n' for unit, text in texts.items()}


def build() -> Path:
    """Compile and link them; what is up to date is left."""
    import mmcv
    from torch.utils import cpp_extension

    os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'  # ninja
    into = folder()
    into.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in sources().items():
        path = into / name
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
        paths.append(str(path))
    cpp_extension.load(
        NAME,
        paths,
        extra_cflags=['-O2', '-w'],
        extra_include_paths=[str(Path(mmcv.__file__).parent / 'ops/csrc/common')],
        build_directory=str(into),
        verbose=True,
    )
    return into / f'{NAME}.so'


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    print(build())
