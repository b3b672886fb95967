"""What a model said about its test pictures, kept in the work directory, so that a page is made anew without predicting."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from convnext_dense.errors import InputError
from convnext_dense.files import partial_file

FOLDER = 'report/evaluated'  # in the work directory
ABOUT, MAPS, DETECTIONS, TRUTH = 'about.json', 'maps', 'detections.json', 'truth.json'
VERSION = 2
BINS = 15  # of confidence, of equal width


@dataclass
class About:
    """What was evaluated, with the figures that `test` prints."""

    kind: str  # 'segmentation' or 'detection'
    checkpoint: str
    stamp: list[int]  # `stamp_of` the checkpoint
    iteration: int
    data: str  # how the data was asked for; where it differs, the pictures are evaluated anew
    metrics: dict[str, float] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    palette: list[list[int]] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)  # their files, in order
    channels: int | None = None
    files: dict[str, list[int]] = field(default_factory=dict)  # `stamp_of` of pictures, annotations and their folders
    calibration: list[list[float]] = field(default_factory=list)  # of each bin: pixels, right ones, the sum of confidences
    not_finite: int = 0  # pixels that are left out of it, since their confidence is no number
    images: str = ''  # of a detector: the folder of the pictures
    version: int = VERSION


def stamp_of(path: str) -> list[int]:
    """Which file it is, without reading it: its size, and when it was written, in nanoseconds."""
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns]


def stamps_of(paths: Iterable[str]) -> dict[str, list[int]]:
    """Of files and the folders that they lie in; none of those that are not there."""
    files = set(paths)
    return {path: stamp_of(path) for path in sorted(files | {os.path.dirname(path) for path in files}) if os.path.exists(path)}


def changed(about: About) -> str | None:
    """A picture, annotation or folder that is another by now; what is not on this machine is taken for unchanged."""
    return next((path for path, stamp in about.files.items() if os.path.exists(path) and stamp_of(path) != stamp), None)


def read_about(work_dir: Path) -> About | None:
    """What is kept in a work directory; None where nothing, or something of another version."""
    try:
        content = json.loads((work_dir / FOLDER / ABOUT).read_text())
        return About(**content) if content.get('version') == VERSION else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write_about(work_dir: Path, about: About) -> None:
    """Last of all: what is there is whole."""
    write_json(work_dir / FOLDER / ABOUT, asdict(about))


def write_json(path: Path, content: Any) -> None:
    with partial_file(path) as partial:
        partial.write_text(json.dumps(content) + '\n')


def write_maps(folder: Path, index: int, truth: NDArray, predicted: NDArray) -> None:
    """Two maps (H, W) of class indices as one picture, the truth above."""
    done, data = cv2.imencode('.png', np.concatenate([truth, predicted]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    (folder / f'{index:06d}.png').write_bytes(data.tobytes())


def read_maps(folder: Path, index: int) -> tuple[NDArray, NDArray]:
    """The truth and the prediction (H, W) of a picture.

    Raises:
        InputError: for a file that is gone or broken.
    """
    path = folder / f'{index:06d}.png'
    both = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if both is None:
        raise InputError(f'report: expected the kept predictions whole, got {path} which cannot be read; --again predicts anew')
    height = both.shape[0] // 2
    return both[:height], both[height:]
