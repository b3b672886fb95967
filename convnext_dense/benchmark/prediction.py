"""From JPEG files to written results: pictures per second of this project and of other libraries' ways to predict.

All write a picture of each prediction and its values: a mask of class indices, or the objects as JSON. MMSegmentation's and
MMDetection's inferencers run twice: on their own layers, as their users have them, and on this project's faster ones.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from rich.table import Table
from torch import nn

from convnext_dense.benchmark.rivals import recipe, spread_scores, stock_detector_cfg, stock_segmentor_cfg
from convnext_dense.benchmark.timing import interleave
from convnext_dense.data.shapes import SPLITS, draw_scene
from convnext_dense.predict.ahead import ahead
from convnext_dense.predict.model import Model
from convnext_dense.predict.out_folder import OutFolder
from convnext_dense.predict.trained import load_trained

PICTURES, SIZE = 4, (480, 640)
OURS = 'convnext_dense'
SHOWN = 10
SHORT = 512  # pixels of a picture's shorter side, as transformers is given it


def prediction(rounds: int, say: Callable[[str], None]) -> Table:
    """A row for each way: median seconds of a round, pictures per second, how many times faster ours is."""
    table = Table(
        f'{PICTURES} pictures of {SIZE[1]}x{SIZE[0]}', 'way', 's', 'range s', 'pictures/s', 'ours is faster', 'outside'
    )
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(Path(folder, 'in'))
        for work, prepare in (('UperNet-T', segmentors), ('Mask R-CNN-T', detectors)):
            ways, model = prepare(Path(folder, work), pictures)
            clock = Clock(model.model)
            say(f'{work}: {", ".join(ways)}')
            timings, _ = interleave(ways, rounds)
            ours = timings[OURS]
            outside = 1 - clock.seconds / sum(clock.rounds(ours.seconds))
            for name, timing in timings.items():
                cells = f'{timing.median:.2f}', timing.span(2), f'{len(pictures) / timing.median:.2f}'
                ratio = f'{timing.median / ours.median:.2f}'
                table.add_row(work, name, *cells, ratio, f'{outside:.0%}' if name == OURS else '')
            table.add_section()
    return table


class Clock:
    """Seconds that a model takes of all that is done with it, the first round's left out."""

    def __init__(self, model: nn.Module) -> None:
        self.step: Callable[[Any], Any] = model.test_step  # type: ignore[assignment]
        self.calls: list[float] = []
        model.test_step = self  # type: ignore[assignment]

    def __call__(self, data: Any) -> Any:
        start = time.perf_counter()
        found = self.step(data)
        self.calls.append(time.perf_counter() - start)
        return found

    @property
    def seconds(self) -> float:
        return sum(self.calls[PICTURES:])

    def rounds(self, seconds: tuple[float, ...]) -> tuple[float, ...]:
        """The rounds' seconds, if there were as many calls in them as there should be."""
        if len(self.calls) != PICTURES * (len(seconds) + 1):
            raise RuntimeError(f'expected {PICTURES} calls a round, got {len(self.calls)} in {len(seconds) + 1}')
        return seconds


def write_pictures(folder: Path) -> list[str]:
    """JPEG files of drawn scenes."""
    folder.mkdir(parents=True)
    paths = [str(folder / f'{i}.jpg') for i in range(PICTURES)]
    for i, path in enumerate(paths):
        cv2.imwrite(path, cv2.resize(draw_scene(0, SPLITS[1], i).image, SIZE[::-1], interpolation=cv2.INTER_CUBIC))
    return paths


def write_model(cfg: Config, path: Path, classes: tuple[str, ...]) -> Path:
    """A checkpoint of the config's model with random weights."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(copy.deepcopy(cfg.model))
    spread_scores(model)
    palette = np.random.default_rng(0).integers(0, 256, (len(classes), 3)).tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=classes, palette=palette))
    torch.save(dict(meta=meta, state_dict=model.state_dict()), path)
    return path


def ours(model: Model, pictures: list[str], formats: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as out:
        folder = OutFolder(out, formats, True, {})
        for entry in ahead(model.stream(pictures), folder.write):
            folder.record(entry)
        folder.finish(model.classes, model.palette, [])


def least_of(scores: np.ndarray) -> float:
    """The score of the object number `SHOWN`: most of a trained model's hundred boxes are below the score that is asked for."""
    return float(np.sort(scores)[-SHOWN:].min(initial=1))


def by_inferencer(inferencer: Any, pictures: list[str], **options: Any) -> None:
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        inferencer(pictures, out_dir=out, **options)


def by_pipeline(pipeline: Any, pictures: list[str], palette: np.ndarray) -> None:
    """transformers gives a mask for each class; put together, drawn and written as the others do."""
    with tempfile.TemporaryDirectory() as out:
        for path in pictures:
            bgr: Any = cv2.imread(path)
            mask = np.zeros(bgr.shape[:2], np.uint8)
            for segment in pipeline(path):
                mask[np.asarray(segment['mask']) > 0] = int(segment['label'].rpartition('_')[2])
            name = Path(path).stem
            cv2.imwrite(f'{out}/{name}.png', mask)
            cv2.imwrite(f'{out}/{name}.jpg', cv2.addWeighted(bgr, 0.5, palette[mask], 0.5, 0))


Ways = Mapping[str, Callable[[], None]]


def segmentors(folder: Path, pictures: list[str]) -> tuple[Ways, Model]:
    from mmseg.apis import MMSegInferencer

    cfg = recipe('upernet_convnext_t_ade20k')
    classes = tuple(f'class {i}' for i in range(cfg.model.decode_head.num_classes))
    path = str(write_model(cfg, folder / 'model.pth', classes))
    model = load_trained(path)
    ways: dict[str, Callable[[], None]] = {OURS: partial(ours, model, pictures, ('png',))}
    stock = copy.deepcopy(cfg)
    stock.model = stock_segmentor_cfg(dict(fused=False))
    for name, config in (('MMSegInferencer', stock), ('MMSegInferencer, our layers', cfg)):
        ways[name] = partial(by_inferencer, MMSegInferencer(config, path, device='cpu'), pictures)
    with contextlib.suppress(ImportError):
        ways['transformers pipeline'] = _transformers(pictures)
    return ways, model


def _transformers(pictures: list[str]) -> Callable[[], None]:
    from transformers import SegformerImageProcessor, pipeline

    from convnext_dense.benchmark.rivals import transformers_upernet

    model = transformers_upernet().model.eval()
    processor = SegformerImageProcessor(size=dict(shortest_edge=SHORT))
    made = pipeline('image-segmentation', model=model, image_processor=processor, device='cpu')
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    return partial(by_pipeline, made, pictures, palette)


def detectors(folder: Path, pictures: list[str]) -> tuple[Ways, Model]:
    from mmdet.apis import DetInferencer

    cfg = recipe('mask_rcnn_convnext_t_coco')
    classes = tuple(f'class {i}' for i in range(cfg.num_classes))
    path = str(write_model(cfg, folder / 'model.pth', classes))
    model = load_trained(path)
    ways: dict[str, Callable[[], None]] = {OURS: partial(ours, model, pictures, ('json',))}
    few = load_trained(path, score=least_of(model(pictures[:1])[0].scores))
    ways[f'{OURS}, {SHOWN} objects a picture'] = partial(ours, few, pictures, ('json',))
    stock = copy.deepcopy(cfg)
    stock.model = stock_detector_cfg()
    stock.model.backbone.fused = False
    for name, config in (('DetInferencer', stock), ('DetInferencer, our layers', cfg)):
        inferencer = DetInferencer(config, path, device='cpu', show_progress=False)
        ways[name] = partial(by_inferencer, inferencer, pictures, no_save_pred=False)
    return ways, model
