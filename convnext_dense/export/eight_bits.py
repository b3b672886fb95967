"""Eight-bit files beside those of 32 bits: what they cost in accuracy and give in time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from rich.table import Table

from convnext_dense.errors import InputError
from convnext_dense.export.metric import Metric, TestSet
from convnext_dense.export.quantised import WAYS
from convnext_dense.export.runtimes import FORMS, parts
from convnext_dense.text import table_text

DROP = 1.0  # points of a hundred, of which more is a warning
ROUNDS = 3
Say = Callable[[str], None]


def quantise(
    files: Mapping[str, Path], folder: Path, cfg: Config, calibration: Sequence[NDArray[Any]], say: Say
) -> dict[str, dict[str, Any]]:
    """Write FILE_int8 beside each file by form, through `folder`; what is known of each, which is also said as a table."""
    about: dict[str, dict[str, Any]] = {}
    table = Table('file', 'metric', 'MB', 's a picture')
    for form, file in files.items():
        target = file.with_name(f'{file.stem}_int8{file.suffix}')
        made = folder / target.name
        WAYS[form].write(file, made, calibration)
        before, after = metrics(cfg, (file, made), say)
        slow, fast = seconds(form, (file, made), calibration[:ROUNDS])
        sizes = [sum(part.stat().st_size for part in parts(form, one)) for one in (file, made)]
        for one, metric, size, spent in zip((file, target), (before, after), sizes, (slow, fast)):
            table.add_row(one.name, str(metric or ''), f'{size / 1e6:.1f}', f'{spent:.3f}')
        about[form] = dict(file=target.name, bytes=sizes[1], seconds=dict(float32=slow, int8=fast))
        if before and after:
            about[form]['metric'] = dict(name=before.name, float32=round(before.points, 2), int8=round(after.points, 2))
            if before.points - after.points > DROP:
                say(
                    f'warning: {target.name} loses {before.points - after.points:.2f} points of {before.name}; '
                    'calibrate on more pictures like those it will see, or keep the file of 32 bits'
                )
        for part in parts(form, made):
            os.replace(part, target.with_name(part.name))
    say(table_text(table))
    return about


def metrics(cfg: Config, files: Sequence[Path], say: Say) -> tuple[Metric | None, Metric | None]:
    """Of the file of 32 bits and that of eight."""
    test_set = TestSet(cfg)
    try:
        return test_set.metric(files[0]), test_set.metric(files[1])
    except InputError as error:
        say(f'no metric: {error}')
        return None, None


def seconds(form: str, files: Sequence[Path], inputs: Sequence[NDArray[Any]]) -> list[float]:
    """Of each file, the median over some pictures, in turn, after one that warms up."""
    runs = [FORMS[form].run(file) for file in files]
    found: list[list[float]] = [[] for _ in runs]
    for image in (inputs[0], *inputs):
        for run, taken in zip(runs, found):
            begun = time.perf_counter()
            run(np.ascontiguousarray(image))
            taken.append(time.perf_counter() - begun)
    return [median(taken[1:]) for taken in found]
