"""Files of a trained model, each run by its own runtime and compared with PyTorch before it is kept."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.errors import InputError, doing, last_line
from convnext_dense.export.about import DETECTION, SEGMENTATION, described
from convnext_dense.export.check_pictures import calibration_pictures, check_pictures
from convnext_dense.export.eight_bits import int8_file, quantise
from convnext_dense.export.graphs import Size, graph_of
from convnext_dense.export.names import MASKS
from convnext_dense.export.parity import BOXES, LOGITS, PIXELS, Limits, Parity, compare_objects, compare_segments
from convnext_dense.export.parity import MASKS as MASK_PIXELS
from convnext_dense.export.quantised import WAYS, check_quantised
from convnext_dense.export.reference import Reference
from convnext_dense.export.runtimes import FORMS, check_installed, parts
from convnext_dense.files import check_file
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.predict.model import Model

BOUNDS = {
    SEGMENTATION: f'{LOGITS:g} of the logits, or below {PIXELS:.2%} of equal pixels',
    DETECTION: f'{BOXES:g} pixels of the boxes, or {MASK_PIXELS:.1%} of the masks, or of other objects',
}
Say = Callable[[str], None]


def parsed_size(text: str) -> Size:
    """'dynamic', or HxW in pixels.

    Raises:
        InputError: for anything else, and sides that the model does not take.
    """
    if text == 'dynamic':
        return None
    sides = text.lower().split('x')
    sides = sides * 2 if len(sides) == 1 else sides
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise InputError(f'--size: expected dynamic, or HEIGHTxWIDTH in pixels, as 512x683, got {text!r}')
    height, width = map(int, sides)
    if min(height, width) < MIN_SIDE:
        raise InputError(f'--size: expected sides of at least {MIN_SIDE} pixels, the last stride, got {text}')
    return height, width


def targets(out: str, forms: Sequence[str]) -> dict[str, Path]:
    """The file of each form: `out` with the form's suffix.

    Raises:
        InputError: for a suffix of another form, and files that cannot be written.
    """
    path, suffixes = Path(out), [FORMS[name].suffix for name in forms]
    if path.suffix not in suffixes:
        raise InputError(f'--out: expected a name that ends in {" or ".join(suffixes)}, as --to {" ".join(forms)}; got {out}')
    found = {name: path.with_suffix(suffix) for name, suffix in zip(forms, suffixes)}
    for file, suffix in zip(found.values(), suffixes):
        check_file('--out', str(file), suffix)
        check_file('--out', str(int8_file(file)), suffix)
    check_file('--out', str(path.with_suffix('.json')), '.json')
    return found


class Options(NamedTuple):
    """What is asked of a file."""

    size: Size = None
    raw: bool = False
    masks: str = MASKS[0]
    check: str | None = None
    int8: str | None = None  # a folder of pictures to calibrate on


def export_model(model: Model, source: str, out: str, forms: Sequence[str], options: Options, say: Say) -> bool:
    """Write a file for each of `forms`, and OUT.json about them; whether all of them give what PyTorch gives.

    A file that does not is not kept, nor is anything of a run that fails.
    """
    check_installed(forms)
    files = targets(out, forms)
    graph = graph_of(model, options.size, options.raw, options.masks)
    pictures = list(check_pictures(options.check, options.size))
    calibration = []
    if options.int8:
        check_quantised(forms)
        calibration = calibration_pictures(options.int8, options.size)
    if model.cfg.model.get('test_cfg', {}).get('mode') == 'slide':
        say('the config predicts by windows; the file takes the whole picture at once, which is compared here')
    about = described(model, source, graph)
    reference, limits = Reference(model, options.raw), limits_of(model)
    answers = [Answer(name, rgb, reference.taken(rgb), reference.answer(rgb)) for name, rgb in pictures]
    kept: dict[str, Any] = {}
    description = Path(out).with_suffix('.json')
    with doing('exporting'), tempfile.TemporaryDirectory(dir=Path(out).absolute().parent, prefix='.export_') as folder:
        for name, file in files.items():
            begun, made = time.perf_counter(), Path(folder, file.name)
            FORMS[name].write(graph, made, about)
            rows = proof(name, made, answers, limits, say)
            if not all(row.within for row in rows):
                earlier = f'; {file} is of an earlier export' if file.exists() else ''
                say(f'{name}: not kept: beyond {BOUNDS[about["task"]]}{earlier}')
                for part in parts(name, made):
                    part.unlink()
                continue
            size = sum(part.stat().st_size for part in parts(name, made))
            spent = round(time.perf_counter() - begun, 1)
            kept[name] = dict(file=file.name, bytes=size, seconds=spent, parity=[row.row() for row in rows])
            say(f'{name}: {file.name}, {size / 1e6:.1f} MB')
        whole = {name: Path(folder, files[name].name) for name in kept if name in WAYS}
        if calibration and whole:
            inputs = [reference.taken(rgb) for rgb in calibration]

            def compare(name: str, file: Path) -> list[Parity]:
                return proof(name, file, answers, limits, lambda line: say(line.replace(name, f'{name} int8', 1)))

            for name, found in quantise(whole, model.cfg, inputs, compare, say).items():
                kept[name]['int8'] = found
        if kept:
            Path(folder, description.name).write_text(json.dumps(about | dict(files=kept), indent=1))
        # What others refer to goes first, the description last; an error before this leaves what was there before.
        made_files = sorted(Path(folder).iterdir(), key=lambda path: (path.suffix == '.json', path.suffix != '.bin'))
        for path in made_files:
            os.replace(path, description.with_name(path.name))
    if not model.is_segmentor and not any(len(answer.theirs[1]) for answer in answers):
        say('no object was found in any of the pictures, so that boxes are not proved: --check pictures with objects in them')
    return len(kept) == len(files)


class Answer(NamedTuple):
    """A picture and what PyTorch gives for it."""

    name: str
    rgb: NDArray[np.uint8]
    taken: NDArray[Any]  # as a file takes it
    theirs: list[NDArray[Any]]


def limits_of(model: Model) -> Limits | None:
    """A detector's."""
    if model.is_segmentor:
        return None
    cfg: Any = model.model.roi_head.test_cfg  # type: ignore[union-attr]
    return Limits(cfg.score_thr, cfg.max_per_img, cfg.get('mask_thr_binary', 0.5))


def proof(name: str, file: Path, answers: Sequence[Answer], limits: Limits | None, say: Say) -> list[Parity]:
    """A file's answers beside PyTorch's, each said as it comes."""
    run = FORMS[name].run(file)
    rows: list[Parity] = []
    for picture, rgb, taken, theirs in answers:
        size = rgb.shape[0], rgb.shape[1]
        try:
            ours = run(taken)
        except (RuntimeError, AssertionError) as error:  # of a size that the file does not take
            raise InputError(f'{name}: the file does not take {picture} at {size[0]}x{size[1]} ({last_line(error)})') from error
        row: Parity
        if limits is None:
            row = compare_segments(picture, size, ours, theirs)
        else:
            row = compare_objects(picture, size, ours, theirs, limits)
        say(f'{name}: {picture} at {size[0]}x{size[1]}: {row}')
        rows.append(row)
    return rows
