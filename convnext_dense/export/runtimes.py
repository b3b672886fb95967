"""What a graph is exported to: how each form is written, and how its own runtime runs the file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convnext_dense.errors import InputError, last_line
from convnext_dense.predict.exported_session import open_session

Run = Callable[[NDArray[np.uint8]], list[NDArray[Any]]]
Size = tuple[int, int] | None  # (H, W); None for any

OPSET = 20  # the first with Gelu; onnxruntime 1.17, of 2024
TRACED = (96, 160)  # any will do, but for sides that are equal or of one place in the last map
LEAST, MOST = 64, 16_384  # sides that the exporter reasons about; graphs take smaller ones, too
NOTE = 'convnext_dense'  # the metadata's key in every form


class Form(NamedTuple):
    """A form of file."""

    suffix: str
    needs: tuple[str, ...]
    write: Callable[[nn.Module, Path, Size, Mapping[str, Any]], None]
    run: Callable[[Path], Run]


def example(size: Size) -> Tensor:
    """An input of a graph, (B, H, W, 3) of bytes."""
    height, width = size or TRACED
    return torch.zeros(1 if size else 2, height, width, 3, dtype=torch.uint8)


def recorded(graph: nn.Module, size: Size) -> torch.export.ExportedProgram:
    """torch.export's program of a graph."""
    dim = torch.export.Dim
    any_size = ({0: dim('batch'), 1: dim('height', min=LEAST, max=MOST), 2: dim('width', min=LEAST, max=MOST)},)
    with torch.no_grad():
        return torch.export.export(
            graph, (example(size),), dynamic_shapes=None if size else any_size, prefer_deferred_runtime_asserts_over_guards=True
        )


def write_program(graph: nn.Module, path: Path, size: Size, meta: Mapping[str, Any]) -> None:
    torch.export.save(recorded(graph, size), path, extra_files={f'{NOTE}.json': json.dumps(meta)})


def run_program(path: Path) -> Run:
    return _of_torch(torch.export.load(path).module())


def write_torchscript(graph: nn.Module, path: Path, size: Size, meta: Mapping[str, Any]) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore', torch.jit.TracerWarning)  # the checks of a picture's size are not of the graph
        traced = torch.jit.trace(graph, example(size), check_trace=False)
    torch.jit.save(traced, path, _extra_files={f'{NOTE}.json': json.dumps(meta)})


def run_torchscript(path: Path) -> Run:
    return _of_torch(torch.jit.load(path))


def _of_torch(module: Any) -> Run:
    def run(image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        with torch.no_grad():
            return [x.numpy() for x in module(torch.from_numpy(image))]

    return run


def write_onnx(graph: nn.Module, path: Path, size: Size, meta: Mapping[str, Any]) -> None:
    program = torch.onnx.export(
        recorded(graph, size),
        dynamo=True,
        input_names=['image'],
        output_names=['classes', 'logits'],
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props[NOTE] = json.dumps(meta)
    program.save(path, external_data=False)


def run_onnx(path: Path) -> Run:
    return _of_session(path)


def write_openvino(graph: nn.Module, path: Path, size: Size, meta: Mapping[str, Any]) -> None:
    import openvino

    onnx = path.with_suffix('.onnx.partial')
    try:
        write_onnx(graph, onnx, size, meta)
        model = openvino.convert_model(onnx)
    finally:
        onnx.unlink(missing_ok=True)
    model.set_rt_info(json.dumps(meta), [NOTE])
    openvino.save_model(model, path, compress_to_fp16=False)


def run_openvino(path: Path) -> Run:
    return _of_session(path)


def _of_session(path: Path) -> Run:
    session = open_session(path)
    return lambda image: list(session.run(image).values())


FORMS = {
    'onnx': Form('.onnx', ('onnx', 'onnxscript', 'onnxruntime'), write_onnx, run_onnx),
    'openvino': Form('.xml', ('onnx', 'onnxscript', 'openvino'), write_openvino, run_openvino),
    'torch-export': Form('.pt2', (), write_program, run_program),
    'torchscript': Form('.ts', (), write_torchscript, run_torchscript),
}


def check_installed(names: Sequence[str]) -> None:
    """Stop where a form needs a package that is not there."""
    for name in names:
        for package in FORMS[name].needs:
            try:
                __import__(package)
            except ImportError as error:
                raise InputError(
                    f'--to {name}: expected {package}, which cannot be imported ({last_line(error)}); '
                    "pip install 'convnext-dense[export]'"
                ) from error
