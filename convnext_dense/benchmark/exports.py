"""UperNet-T as files beside PyTorch: time from bytes to classes, start-up, peak memory and size of the file."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import MODELS, DefaultScope
from mmseg.structures import SegDataSample
from rich.table import Table
from torch import nn

from convnext_dense.benchmark.contest import OURS, peak_bytes
from convnext_dense.benchmark.prediction import write_model
from convnext_dense.benchmark.rivals import recipe, stock_segmentor_cfg
from convnext_dense.benchmark.timing import interleave
from convnext_dense.data.shapes import draw_scene
from convnext_dense.errors import InputError, last_line
from convnext_dense.export.about import described
from convnext_dense.export.graphs import SEGMENTOR, Graph
from convnext_dense.export.names import SUFFIXES
from convnext_dense.export.quantised import WAYS, check_quantised
from convnext_dense.export.runtimes import FORMS, check_installed
from convnext_dense.export.segmentor_graph import SegmentorGraph
from convnext_dense.predict.exported_session import unreported
from convnext_dense.predict.trained import load_trained

SIZE = (512, 512)
FILES = ('onnx', 'openvino')
PLAIN = 'mmseg'
COMPILED = 'mmseg, torch.compile'
MIB = 2**20

# A process without PyTorch: seconds from its start to the first answer, and its peak memory in bytes.
PROGRAM = """
import json, sys, time
import numpy as np
begun, path, picture = float(sys.argv[1]), sys.argv[2], np.load(sys.argv[3])
if path.endswith('.onnx'):
    import onnxruntime
    onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']).run(None, {'image': picture})
else:
    import openvino
    openvino.Core().compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})({'image': picture})
seconds = time.time() - begun
peak = [int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')]
print(json.dumps([seconds, peak[0] * 1024]))
"""


def exports(rounds: int, say: Callable[[str], None]) -> Table:
    """A row for each way: median seconds, how many times as fast as ours in PyTorch, file, start-up and memory."""
    table = Table(f'UperNet-T, {SIZE[0]}x{SIZE[1]}', 'median s', 'range s', 'times as fast', 'MB', 'start-up s', 'peak MiB')
    image = np.ascontiguousarray(draw_scene(0, 'validation', 0).image[..., ::-1])
    picture = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_CUBIC)[None]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        np.save(folder / 'picture.npy', picture)
        steps, files = ways(folder, picture, say)
        say(f'{SIZE[0]}x{SIZE[1]}: {", ".join(steps)}')
        timings, results = interleave(steps, rounds)
        agreement(results, say)
        steps.clear()
        ours = timings[OURS].median
        for name, timing in timings.items():
            start, peak = fresh(name, files.get(name), folder)
            size = f'{weight(files[name]) / 1e6:.0f}' if name in files else ''
            cells = f'{timing.median:.2f}', timing.span(2), f'{ours / timing.median:.2f}'
            table.add_row(name, *cells, size, f'{start:.1f}', f'{peak / MIB:.0f}')
    return table


def ways(folder: Path, picture: np.ndarray, say: Callable[[str], None]) -> tuple[dict[str, Callable[[], Any]], dict[str, Path]]:
    """What is timed, each (1, H, W, 3) of bytes to classes (1, H, W); and the files of those that have one."""
    cfg = recipe('upernet_convnext_t_ade20k')
    classes = tuple(f'class {i}' for i in range(cfg.model.decode_head.num_classes))
    trained = load_trained(write_model(cfg, folder / 'model.pth', classes), device='cpu')
    model: Any = trained.model
    model.test_cfg.mode = 'whole'
    stock = stock_of(model)
    steps: dict[str, Callable[[], Any]] = {
        OURS: partial(torch_step, model, picture),
        PLAIN: partial(torch_step, stock, picture),
    }
    compiled: Any = torch.compile(SegmentorGraph(stock, fused=False).eval())
    try:
        module_step(compiled, picture)
        steps[COMPILED] = partial(module_step, compiled, picture)
    except Exception as error:  # of its compiler
        say(f'{COMPILED} is left out: {last_line(error)}')
    files: dict[str, Path] = {}
    for form in FILES:
        try:
            check_installed([form])
        except InputError as error:
            say(f'{form} is left out: {error}')
            continue
        for fused in (True, False):
            name = f'{form}, {"fused head" if fused else "plain export"}'
            files[name] = folder / f'{form}_{fused}{SUFFIXES[form]}'
            module = SegmentorGraph(model if fused else stock, fused).eval()
            graph = Graph(module, SEGMENTOR, None, False, True, None, None)
            FORMS[form].write(graph, files[name], described(trained, str(folder / 'model.pth'), graph))
        try:
            check_quantised([form])
        except InputError as error:
            say(f'{form}, int8 is left out: {error}')
            continue
        eight = folder / f'{form}_int8{SUFFIXES[form]}'
        source = folder / f'{form}_integers{SUFFIXES[form]}'
        own = Graph(SegmentorGraph(model).eval(), SEGMENTOR, None, False, True, None, None).in_integers()
        FORMS[form].write(own, source, described(trained, str(folder / 'model.pth'), own))
        WAYS[form].write(source, eight, [picture])
        files[f'{form}, fused head, int8'] = eight
    for name, path in files.items():
        steps[name] = partial(FORMS[name.partition(',')[0]].run(path), picture)
    return steps, files


def stock_of(model: nn.Module) -> Any:
    """mmseg's own layers with the same weights."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        stock: Any = MODELS.build(copy.deepcopy(stock_segmentor_cfg(dict(fused=False))))
    stock.load_state_dict(model.state_dict())
    stock.test_cfg.mode = 'whole'
    return stock.eval()


def torch_step(model: Any, picture: np.ndarray) -> np.ndarray:
    bgr = torch.from_numpy(picture[0, ..., ::-1].copy()).permute(2, 0, 1)
    size = picture.shape[1:3]
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
    with torch.no_grad():
        return model.test_step(dict(inputs=[bgr], data_samples=[sample]))[0].pred_sem_seg.data.numpy()


def module_step(module: nn.Module, picture: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(picture))[0].numpy()


def agreement(results: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Say what share of the pixels has the same class as in ours."""
    for name, result in results.items():
        classes = result[0] if isinstance(result, list) else result
        if name != OURS:
            say(f'{name}: {(classes == results[OURS]).mean():.4%} of the pixels as in {OURS}')


def fresh(name: str, file: Path | None, folder: Path) -> tuple[float, int]:
    """Seconds from the start of a process to its first answer, and its peak memory in bytes."""
    arguments = ['-m', 'convnext_dense.benchmark.exports', str(time.time()), name, str(folder)]
    if file is not None:
        arguments = ['-c', PROGRAM, str(time.time()), str(file), str(folder / 'picture.npy')]
    with unreported():
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f'{name}: {done.stderr.strip().splitlines()[-1]}')
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def first_answer(begun: float, name: str, folder: str) -> list[float]:
    """What `fresh` asks of a process with PyTorch."""
    model: Any = load_trained(Path(folder, 'model.pth'), device='cpu').model
    model.test_cfg.mode = 'whole'
    picture = np.load(Path(folder, 'picture.npy'))
    if name == OURS:
        torch_step(model, picture)
    elif name == PLAIN:
        torch_step(stock_of(model), picture)
    else:
        compiled: Any = torch.compile(SegmentorGraph(stock_of(model), fused=False).eval())
        module_step(compiled, picture)
    return [time.time() - begun, peak_bytes()]


def weight(file: Path) -> int:
    """Bytes of a file and of what it refers to."""
    return sum(path.stat().st_size for path in file.parent.glob(f'{file.stem}.*'))


if __name__ == '__main__':
    print(json.dumps(first_answer(float(sys.argv[1]), *sys.argv[2:4])))
