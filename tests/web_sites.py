"""Sites of `--to web` for tests: hand-made models of a few bytes, a small segmentor and a small detector."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from convnext_dense.export.graphs import SEGMENTOR, Graph
from convnext_dense.export.runtimes import OPSET, write_onnx
from convnext_dense.export.segmentor_graph import SegmentorGraph
from convnext_dense.export.serve import Handler, make_server
from convnext_dense.export.web import write_site
from convnext_dense.export.web_runtime import FILES, runtime_at_hand

COLOURS = [[200, 30, 30], [30, 160, 60], [40, 70, 220], [230, 180, 0], [150, 40, 160], [0, 170, 180], [120, 120, 120]]


def meta(task: str = 'segmentation', classes: int = 3, **more: Any) -> dict[str, Any]:
    """What a file says about itself."""
    outputs = ('classes', 'logits') if task == 'segmentation' else ('boxes', 'scores', 'labels', 'masks')
    return (
        dict(
            format=1,
            made_by='convnext_dense',
            checkpoint='toy.pth',
            task=task,
            classes=[f'class {i}' for i in range(classes)],
            palette=COLOURS[:classes],
            input=dict(name='image', layout='BHWC', type='uint8', colour='RGB', size='dynamic', batch=1),
            raw=False,
            masks='crop' if task == 'detection' else None,
            mask_threshold=0.5,
            outputs=dict.fromkeys(outputs, ''),
        )
        | more
    )


def fake_runtime(folder: Path) -> Path:
    """Files of the runtime's names."""
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(name)
    return folder


def brightest_channel(path: Path, size: tuple[int, int] | None = None, copies: int = 1, comment: str = '') -> Path:
    """An ONNX file whose class is the channel of the largest byte, after copying the picture so many times a side."""
    import onnx
    from onnx import TensorProto as T
    from onnx import helper

    sides = list(size or ('height', 'width'))
    nodes = [
        helper.make_node('Tile', ['image', 'copies'], ['large']),
        helper.make_node('ArgMax', ['large'], ['index'], axis=3, keepdims=0),
        helper.make_node('Cast', ['index'], ['classes'], to=T.UINT8),
    ]
    times = helper.make_tensor('copies', T.INT64, [4], [1, copies, copies, 1])
    image = helper.make_tensor_value_info('image', T.UINT8, [1, *sides, 3])
    classes = helper.make_tensor_value_info('classes', T.UINT8, [1, 'h', 'w'])
    graph = helper.make_graph(nodes, 'graph', [image], [classes], [times])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=10, doc_string=comment), path)
    return path


def hand_made_site(folder: Path, size: tuple[int, int] | None = None, copies: int = 1, comment: str = '') -> Path:
    """A site whose classes are the channels."""
    about = meta()
    about['input']['size'] = list(size) if size else 'dynamic'
    file = brightest_channel(folder.with_suffix('.onnx'), size, copies, comment)
    write_site(folder, file, about, _runtime())
    return folder


def segmentor_site(folder: Path, model: Any) -> Path:
    graph = Graph(SegmentorGraph(model).eval(), SEGMENTOR, None, False, True, None, None)
    return _graph_site(folder, graph, meta(classes=model.num_classes))


def detector_site(folder: Path, graph: nn.Module, classes: int) -> Path:
    """Of a graph that gives boxes, scores, labels and masks of a picture of any size."""
    about = meta('detection', classes)
    return _graph_site(folder, Graph(graph, about['outputs'], None, False, False, 'crop', None), about)


def _graph_site(folder: Path, graph: Graph, about: dict[str, Any]) -> Path:
    file = folder.with_suffix('.onnx')
    write_onnx(graph, file, about)
    write_site(folder, file, about, _runtime())
    return folder


def _runtime() -> Path:
    found = runtime_at_hand()
    assert found is not None
    return found


@contextmanager
def served(folder: Path, handler: type[Handler] = Handler) -> Iterator[str]:
    """The address of a site."""
    server = make_server(str(folder), 0, handler)
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}/'
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """(H, W, channels) of bytes in OpenCV's order: smooth areas and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + 5 * c)) + np.cos(y / (11 - 2 * c)) for c in range(channels)]
    values = 128 + 50 * np.stack(waves, axis=-1) + rng.normal(0, 20, (height, width, channels))
    return values.clip(0, 255).astype(np.uint8)
