"""A file run by its own runtime on pictures, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.errors import InputError, last_line
from convnext_dense.export.parity import Limits, Parity, Refused, compare_objects, compare_segments
from convnext_dense.export.reference import Reference
from convnext_dense.export.runtimes import FORMS
from convnext_dense.predict.model import Model

Picture = tuple[str, NDArray[np.uint8]]


class Answer(NamedTuple):
    """What a file takes, one picture or several of a size, and what PyTorch gives for it."""

    name: str
    size: tuple[int, int]  # (H, W) of the pictures
    taken: NDArray[Any]  # as a file takes it
    theirs: list[NDArray[Any]]


def answers(reference: Reference, pictures: Sequence[Picture], batch: bool) -> Iterator[Answer]:
    """PyTorch's for each picture (H, W, 3) in RGB; where the graph takes a `batch`, for the smallest beside its mirror, too."""
    for name, rgb in pictures:
        yield Answer(name, rgb.shape[:2], reference.taken(rgb), reference.answer(rgb))
    if batch and pictures:
        name, rgb = min(pictures, key=lambda picture: picture[1].size)
        two = [rgb, np.ascontiguousarray(rgb[:, ::-1])]
        taken = np.concatenate([reference.taken(one) for one in two])
        theirs = [np.concatenate(parts) for parts in zip(*(reference.answer(one) for one in two))]
        yield Answer(f'{name} and its mirror', rgb.shape[:2], taken, theirs)


def limits_of(model: Model) -> Limits | None:
    """A detector's."""
    if model.is_segmentor:
        return None
    cfg: Any = model.model.roi_head.test_cfg  # type: ignore[union-attr]
    return Limits(cfg.score_thr, cfg.max_per_img, cfg.get('mask_thr_binary', 0.5))


def proof(
    name: str, file: Path, known: Sequence[Answer], limits: Limits | None, say: Callable[[str], None], label: str = ''
) -> list[Parity]:
    """The answers of a file of form `name` beside PyTorch's, each said as it comes."""
    run = FORMS[name].run(file)
    rows: list[Parity] = []
    for picture, size, taken, theirs in known:
        row: Parity
        try:
            ours = run(taken)
        except (RuntimeError, AssertionError, InputError) as error:  # of PyTorch's forms, and of the sessions of the others
            row = Refused(picture, *size, last_line(error))
        else:
            if limits is None:
                row = compare_segments(picture, size, ours, theirs)
            else:
                row = compare_objects(picture, size, ours, theirs, limits)
        say(f'{label or name}: {picture} at {size[0]}x{size[1]}: {row}')
        rows.append(row)
    return rows
