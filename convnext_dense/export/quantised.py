"""Eight-bit files by the runtimes' own tools: NNCF for OpenVINO, onnxruntime's quantisation for ONNX.

Convolutions and products with weights are computed in integers, with ranges taken from calibration pictures; norms, resizing,
suppression and pasting stay in floats.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import MMLogger
from numpy.typing import NDArray

from convnext_dense.errors import InputError, last_line
from convnext_dense.export.options import expect_eight_bits
from convnext_dense.predict.exported_session import INPUT, KEY, unreported

TOOLS = ('nncf', 'onnxruntime', 'torch.utils.cpp_extension', '')  # loggers; '' is the root
LAYERS = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul')


class Way(NamedTuple):
    """How a form is quantised."""

    needs: tuple[str, ...]
    write: Callable[[Path, Path, Sequence[NDArray[Any]]], None]


def check_quantised(forms: Sequence[str]) -> None:
    """Stop where none of the forms has an eight-bit file, and at one whose tool is not installed."""
    expect_eight_bits(forms)
    for name in [name for name in forms if name in WAYS]:
        for package in WAYS[name].needs:
            try:
                with quiet(), unreported():
                    __import__(package)
            except ImportError as error:
                why = f'which cannot be imported ({last_line(error)}); pip install {package.partition(".")[0]}'
                raise InputError(f'--int8: expected {package}, {why}') from error


def write_onnx(source: Path, out: Path, inputs: Sequence[NDArray[Any]]) -> None:
    """Weights of each channel and activations in QuantizeLinear and DequantizeLinear, which onnxruntime fuses."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Pictures(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(inputs)

        def get_next(self) -> Any:
            found = next(self.left, None)
            return None if found is None else {INPUT: found}

    model = onnx.load(source)
    weights = {tensor.name for tensor in model.graph.initializer}
    chosen = [
        node.name for node in model.graph.node if node.op_type in LAYERS and any(name in weights for name in node.input[1:2])
    ]
    with quiet():
        quantize_static(
            model,
            out,
            Pictures(),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=chosen,
            op_types_to_quantize=list(LAYERS),
            per_channel=True,
            reduce_range=True,  # without VNNI, sums of two products of eight bits overflow
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def write_openvino(source: Path, out: Path, inputs: Sequence[NDArray[Any]]) -> None:
    """NNCF's quantisation with mixed ranges, as for transformers' activations."""
    with quiet(), unreported():
        import nncf
        import openvino

        core = openvino.Core()
        model = core.read_model(source)
        note = model.get_rt_info([KEY]).astype(str)
        data = nncf.Dataset(inputs, lambda image: {INPUT: image})
        found = nncf.quantize(model, data, preset=nncf.QuantizationPreset.MIXED, subset_size=len(inputs))
        found.set_rt_info(note, [KEY])
        openvino.save_model(found, out, compress_to_fp16=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the tools' own log and bars."""
    loggers = [
        *(logging.getLogger(name) for name in ('nncf', 'onnxruntime', 'torch.utils.cpp_extension', '')),
        MMLogger.get_current_instance(),
    ]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:  # not logging.disable: MMLogger would go on without its lines
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)


WAYS = {
    'onnx': Way(('onnx', 'onnxruntime.quantization'), write_onnx),
    'openvino': Way(('openvino', 'nncf'), write_openvino),
}
