"""An exported file run by its own runtime: `.onnx` by onnxruntime, `.xml` by OpenVINO, on the CPU; PyTorch is not needed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.errors import InputError

KEY = 'convnext_dense'  # of what a file says about itself
INPUT = 'image'
OUTPUTS = ('classes', 'logits', 'boxes', 'scores', 'labels', 'masks')  # one may have other names beside it in OpenVINO
AGAIN = 'copy it again, or export it again'
# What the runtimes say where they do not know an operator, and where a file is of a later layout than they know.
NO_OPERATOR = (
    'No Op registered',
    'not a registered function/op',
    'NOT_IMPLEMENTED',
    "doesn't contain the operation",
    'Unsupported op',
)
LATER = ('is under development', 'Unsupported model IR version', 'unsupported opset', 'unsupported IR version')
IN_CI = {'CI': 'true', 'NNCF_CI': '1'}
LONGEST = 200  # characters of a runtime's own words


class Session(NamedTuple):
    """An opened file. `run` takes the input and gives each output by its name."""

    text: str | None  # what the file says about itself
    run: Callable[[NDArray[Any]], dict[str, NDArray[Any]]]


def is_exported(path: object) -> bool:
    """Whether a file of this name is run by a runtime of its own."""
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).lower().endswith(tuple(OPENERS))


def open_session(path: str | os.PathLike[str], threads: int | None = None) -> Session:
    """Open an exported file; `threads` that compute, None for as many as the runtime takes.

    Raises:
        InputError: where the runtime is not installed, or the file is not whole or beyond the runtime.
    """
    file = Path(path)
    if not file.is_file():
        got = 'which is a folder' if file.is_dir() else 'which is not there'
        raise InputError(f'model: expected an exported file, got {file} {got}; check the path')
    return OPENERS[file.suffix.lower()](file, threads)


def _open_onnx(path: Path, threads: int | None) -> Session:
    runtime = _runtime('onnxruntime', path)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what it would write to the terminal is in its errors
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # of many classes of its own
        raise _refused(path, 'onnxruntime', error) from error
    names = [output.name for output in session.get_outputs()]

    def run(image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        try:
            return dict(zip(names, session.run(None, {INPUT: image})))
        except Exception as error:
            raise _stopped(path, 'onnxruntime', image, error) from error

    return Session(session.get_modelmeta().custom_metadata_map.get(KEY), run)


def _open_openvino(path: Path, threads: int | None) -> Session:
    runtime = _runtime('openvino', path)
    weights = path.with_suffix('.bin')
    if not weights.is_file():
        raise InputError(f'model: expected {weights} beside {path}, which holds its weights; copy both')
    if b'<net' not in _head(path):  # OpenVINO would try it as files of other libraries, and write about each
        raise InputError(f"model {path}: expected OpenVINO's XML, got something else; {AGAIN}")
    options: dict[str, Any] = {'INFERENCE_PRECISION_HINT': 'f32'}
    if threads is not None:
        options['INFERENCE_NUM_THREADS'] = threads
    try:
        core = runtime.Core()
        model = core.read_model(path)
        text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
        compiled = core.compile_model(model, 'CPU', options)
    except Exception as error:  # RuntimeError of all kinds
        raise _refused(path, 'openvino', error) from error
    names = [next((name for name in OUTPUTS if name in output.names), output.any_name) for output in compiled.outputs]

    def run(image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        try:
            found = compiled({INPUT: image})
            return {name: np.array(found[output]) for name, output in zip(names, compiled.outputs)}
        except Exception as error:
            raise _stopped(path, 'openvino', image, error) from error

    return Session(text, run)


OPENERS = {'.onnx': _open_onnx, '.xml': _open_openvino}


@contextmanager
def unreported() -> Iterator[None]:
    """OpenVINO, at its import and its conversions, and NNCF report their use to their makers; in continuous integration not."""
    before = {name: os.environ.get(name) for name in IN_CI}
    os.environ.update(IN_CI)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _runtime(name: str, path: Path) -> ModuleType:
    try:
        with unreported():
            return import_module(name)
    except ImportError as error:
        raise InputError(f'model {path}: expected {name}, which cannot be imported ({error}); pip install {name}') from error


def _head(path: Path) -> bytes:
    with open(path, 'rb') as file:
        return file.read(1024)


def _refused(path: Path, name: str, error: Exception) -> InputError:
    words, version = str(error), f'{name} {import_module(name).__version__.partition("-")[0]}'
    if any(one in words for one in NO_OPERATOR):
        said, how = f'expected operators of {version}, got one that it lacks', f'upgrade {name}'
    elif any(one in words for one in LATER):
        said, how = f'expected a layout that {version} knows, got a later one', f'upgrade {name}'
    else:
        said, how = f'expected a whole file, got one that {version} cannot read', AGAIN
    return InputError(f'model {path}: {said} ({_brief(words)}); {how}')


def _stopped(path: Path, name: str, image: NDArray[Any], error: Exception) -> InputError:
    return InputError(f'{path}: {name} stops at an input of {image.dtype} {image.shape} ({_brief(str(error))})')


def _brief(words: str) -> str:
    """A runtime's words without where in its own source they were said."""
    for place in (r'Load model from .* failed:', r'/\S+:\d+ .*onnxruntime::.*?\) ', r'\[ONNXRuntimeError\] : \d+ : '):
        words = re.sub(place, '', words)
    words = re.sub(r'Exception from \S+|Check .* failed at \S+', '', words)
    return ' '.join(words.split())[:LONGEST] or 'no reason given'
