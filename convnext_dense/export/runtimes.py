"""What a graph is exported to: how each form is written, and how its own runtime runs the file."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from convnext_dense.errors import InputError, last_line
from convnext_dense.export.graphs import Graph
from convnext_dense.predict.exported_session import KEY, open_session, unreported

Run = Callable[[NDArray[Any]], list[NDArray[Any]]]

OPSET = 20  # the first with Gelu; onnxruntime 1.17, of 2024


class Form(NamedTuple):
    """A form of file, whose ending is in `names.SUFFIXES`."""

    others: tuple[str, ...]  # endings of files that it refers to
    needs: tuple[str, ...]
    write: Callable[[Graph, Path, Mapping[str, Any]], None]
    run: Callable[[Path], Run]


@contextmanager
def quiet() -> Iterator[None]:
    """Without PyTorch's and torchvision's words about themselves, and about checks of sizes that are not of a graph."""
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning, torch.jit.TracerWarning):
            warnings.simplefilter('ignore', category)
        yield


Made = TypeVar('Made')


def once(make: Callable[[Graph], Made]) -> Callable[[Graph], Made]:
    """What is made of a graph is kept as long as that: several forms begin with the same program."""
    kept: WeakKeyDictionary[Graph, Made] = WeakKeyDictionary()

    @wraps(make)
    def found(graph: Graph) -> Made:
        if graph not in kept:
            kept[graph] = make(graph)
        return kept[graph]

    return found


@once
def recorded(graph: Graph) -> torch.export.ExportedProgram:
    """torch.export's program of a graph."""
    with torch.no_grad(), quiet():
        return torch.export.export(
            graph.module,
            (graph.example(),),
            dynamic_shapes=graph.dynamic(),
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def write_program(graph: Graph, path: Path, meta: Mapping[str, Any]) -> None:
    # By way of memory: PyTorch's own writer ends the process where the disk is full.
    made = io.BytesIO()
    torch.export.save(recorded(graph), made, extra_files={f'{KEY}.json': json.dumps(meta)})
    path.write_bytes(made.getbuffer())


def run_program(path: Path) -> Run:
    return _of_torch(torch.export.load(path).module())


def write_torchscript(graph: Graph, path: Path, meta: Mapping[str, Any]) -> None:
    with torch.no_grad(), quiet():
        traced = torch.jit.trace(graph.module, graph.example(), check_trace=False)
        made = io.BytesIO()  # see write_program
        torch.jit.save(traced, made, _extra_files={f'{KEY}.json': json.dumps(meta)})
    path.write_bytes(made.getbuffer())


def run_torchscript(path: Path) -> Run:
    with quiet():
        return _of_torch(torch.jit.load(path))


def _of_torch(module: Any) -> Run:
    def run(image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        with torch.no_grad():
            return [x.numpy() for x in module(torch.from_numpy(image))]

    return run


@once
def onnx_program(graph: Graph) -> torch.onnx.ONNXProgram:
    """The graph in ONNX's operators, by PyTorch's exporter."""
    program = recorded(graph)
    with quiet():
        made = torch.onnx.export(
            program,
            dynamo=True,
            input_names=['image'],
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamic_shapes=graph.dynamic(),  # which the program has already: for their names
            verbose=False,
        )
    assert made is not None
    return made


def write_onnx(graph: Graph, path: Path, meta: Mapping[str, Any]) -> None:
    made = onnx_program(graph)
    made.model.metadata_props[KEY] = json.dumps(meta)
    made.save(path, external_data=False)


def run_onnx(path: Path) -> Run:
    return _of_session(path)


def write_openvino(graph: Graph, path: Path, meta: Mapping[str, Any]) -> None:
    with unreported():
        import openvino

    onnx = path.with_suffix('.onnx.partial')
    try:
        write_onnx(graph, onnx, meta)
        with unreported():
            model = openvino.convert_model(onnx)
    finally:
        onnx.unlink(missing_ok=True)
    model.set_rt_info(json.dumps(meta), [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)


def run_openvino(path: Path) -> Run:
    return _of_session(path)


def _of_session(path: Path) -> Run:
    session = open_session(path)
    return lambda image: list(session.run(image).values())


FORMS = {
    'onnx': Form((), ('onnx', 'onnxscript', 'onnxruntime'), write_onnx, run_onnx),
    'openvino': Form(('.bin',), ('onnx', 'onnxscript', 'openvino'), write_openvino, run_openvino),
    'torch-export': Form((), (), write_program, run_program),
    'torchscript': Form((), (), write_torchscript, run_torchscript),
}


def parts(name: str, file: Path) -> list[Path]:
    """A form's file and those that it refers to, these first."""
    return [*(file.with_suffix(suffix) for suffix in FORMS[name].others), file]


def size_of(name: str, file: Path) -> int:
    """Bytes of a form's file and of those that it refers to."""
    return sum(part.stat().st_size for part in parts(name, file))


def check_installed(names: Sequence[str]) -> None:
    """Stop where a form needs a package that is not there."""
    for name in names:
        for package in FORMS[name].needs:
            try:
                with unreported():
                    __import__(package)
            except ImportError as error:
                raise InputError(
                    f'--to {name}: expected {package}, which cannot be imported ({last_line(error)}); '
                    "pip install 'convnext-dense[export]'"
                ) from error
