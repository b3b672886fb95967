"""Eight-bit files beside those of 32 bits: what they cost in accuracy and give in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from rich.table import Table

from convnext_dense.errors import InputError, last_line
from convnext_dense.export.metric import Metric, TestSet
from convnext_dense.export.options import int8_file
from convnext_dense.export.parity import Parity
from convnext_dense.export.quantised import WAYS
from convnext_dense.export.runtimes import FORMS, parts, size_of
from convnext_dense.text import table_text

DROP = 1.0  # points of a hundred, of which more is a warning
ROUNDS = 3
Say = Callable[[str], None]
Compare = Callable[[str, Path], Sequence[Parity]]


def quantise(
    files: Mapping[str, Path],
    sources: Mapping[str, Path],
    cfg: Config,
    calibration: Sequence[NDArray[Any]],
    compare: Compare,
    say: Say,
) -> dict[str, dict[str, Any]]:
    """Write `int8_file` of each form's file; what is known of each, which is also said as a table.

    They are made from `sources`, one of each form, which may be the files. `compare` takes a form and a file to its rows beside
    PyTorch's. What a runtime cannot read is said and left out.
    """
    about: dict[str, dict[str, Any]] = {}
    table = Table('file', 'metric', 'MB', 's a picture')
    for form, file in files.items():
        made = int8_file(file)
        try:
            WAYS[form].write(sources[form], made, calibration)
            rows = compare(form, made)
        except OSError:
            raise
        except Exception as error:  # of the tools, and of a runtime that cannot read what they made
            if isinstance(error, InputError) and str(error).startswith('--int8'):  # of a calibration picture
                raise
            say(f'{form}: no file of eight bits: {last_line(error)}')
            for part in parts(form, made):
                part.unlink(missing_ok=True)
            continue
        before, after = metrics(cfg, (file, made), say)
        slow, fast = seconds(form, (file, made), calibration[:ROUNDS])
        sizes = [size_of(form, one) for one in (file, made)]
        for one, metric, size, spent in zip((file, made), (before, after), sizes, (slow, fast)):
            table.add_row(one.name, str(metric or ''), f'{size / 1e6:.1f}', f'{spent:.3f}')
        took = dict(float32=slow, int8=fast)
        apart = [{key: value for key, value in row.row().items() if key != 'within'} for row in rows]  # there are no bounds
        about[form] = dict(file=made.name, bytes=sizes[1], seconds_a_picture=took, parity=apart)
        if before and after:
            about[form]['metric'] = dict(name=before.name, float32=round(before.points, 2), int8=round(after.points, 2))
            if before.points - after.points > DROP:
                say(
                    f'warning: {made.name} loses {before.points - after.points:.2f} points of {before.name}; '
                    'calibrate on more pictures like those it will see, or keep the file of 32 bits'
                )
    if about:
        say(table_text(table))
    return about


def metrics(cfg: Config, files: Sequence[Path], say: Say) -> tuple[Metric | None, Metric | None]:
    """Of the file of 32 bits and that of eight."""
    test_set = TestSet(cfg)
    try:
        say(f"the config's test set is measured twice: {test_set.count()} pictures")
        return test_set.metric(files[0]), test_set.metric(files[1])
    except InputError as error:
        say(f'no metric: {error}; export where its data is, or measure {files[0].name} and {files[1].name} by `test`')
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
