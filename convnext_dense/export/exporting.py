"""Files of a trained model, each run by its own runtime and compared with PyTorch before it is kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from convnext_dense.errors import InputError, doing
from convnext_dense.export.check_pictures import check_pictures
from convnext_dense.export.graphs import MASKS, Graph, Size, graph_of
from convnext_dense.export.parity import BOXES, LOGITS, PIXELS, Parity, compare_objects, compare_segments
from convnext_dense.export.parity import MASKS as MASK_PIXELS
from convnext_dense.export.picture_input import normalisation
from convnext_dense.export.reference import Reference
from convnext_dense.export.runtimes import FORMS, OPSET, check_installed
from convnext_dense.files import check_file, partial_file
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.predict.model import Model
from convnext_dense.version import __version__

FORMAT = 1  # of the description; a greater number is one that this version cannot read
SEGMENTATION, DETECTION = 'segmentation', 'detection'
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
    check_file('--out', str(path.with_suffix('.json')), '.json')
    return found


class Options(NamedTuple):
    """What is asked of a file."""

    size: Size = None
    raw: bool = False
    masks: str = MASKS[0]
    check: str | None = None


def export_model(model: Model, source: str, out: str, forms: Sequence[str], options: Options, say: Say) -> bool:
    """Write a file for each of `forms`, and OUT.json about them; whether all of them give what PyTorch gives.

    A file that does not is not kept, nor is anything of a run that fails.
    """
    check_installed(forms)
    files = targets(out, forms)
    graph = graph_of(model, options.size, options.raw, options.masks)
    pictures = list(check_pictures(options.check, options.size))
    if model.cfg.model.get('test_cfg', {}).get('mode') == 'slide':
        say('the config predicts by windows; the file takes the whole picture at once, which is compared here')
    about = described(model, source, graph)
    reference = Reference(model, options.raw)
    answers = [(name, rgb, reference.answer(rgb)) for name, rgb in pictures]
    kept: dict[str, Any] = {}
    with doing('exporting'), tempfile.TemporaryDirectory(dir=Path(out).absolute().parent, prefix='.export_') as folder:
        for name, file in files.items():
            begun, made = time.perf_counter(), Path(folder, file.name)
            FORMS[name].write(graph, made, about)
            run, rows = FORMS[name].run(made), []
            for picture, rgb, answer in answers:
                row = _compared(picture, rgb, run(reference.taken(rgb)), answer, about)
                say(f'{name}: {row.picture} at {row.height}x{row.width}: {row}')
                rows.append(row)
            parts = [path for path in Path(folder).iterdir() if path.stem == file.stem]
            if all(row.within for row in rows):
                kept[name] = dict(
                    file=file.name,
                    bytes=sum(path.stat().st_size for path in parts),
                    seconds=round(time.perf_counter() - begun, 1),
                    parity=[row.row() for row in rows],
                )
                for path in sorted(parts, key=lambda path: path.name == file.name):  # what it refers to first
                    os.replace(path, file.with_name(path.name))
                say(f'{name}: {file}, {kept[name]["bytes"] / 1e6:.1f} MB')
            else:
                for path in parts:
                    path.unlink()
                say(f'{name}: not kept: beyond {BOUNDS[about["task"]]}')
    if not model.is_segmentor and not any(len(answer[1]) for _, _, answer in answers):
        say('no object was found in any of the pictures, so that boxes are not proved: --check pictures with objects in them')
    if kept:
        with partial_file(Path(out).with_suffix('.json')) as partial:
            partial.write_text(json.dumps(about | dict(files=kept), indent=1))
    return len(kept) == len(files)


def _compared(name: str, rgb: Any, ours: Any, theirs: Any, about: dict[str, Any]) -> Parity:
    size = rgb.shape[:2]
    if about['task'] == SEGMENTATION:
        return compare_segments(name, size, ours, theirs)
    return compare_objects(name, size, ours, theirs, about['mask_threshold'])


def described(model: Model, source: str, graph: Graph) -> dict[str, Any]:
    """What stands in a file about itself."""
    colour, mean, std = normalisation(model.model.data_preprocessor)
    raw, size, roi_head = graph.raw, graph.size, getattr(model.model, 'roi_head', None)
    return dict(
        format=FORMAT,
        made_by=f'convnext_dense {__version__}',
        checkpoint=os.path.basename(source),
        sha256=sha256(source),
        task=SEGMENTATION if model.is_segmentor else DETECTION,
        classes=list(model.classes),
        palette=[list(colour) for colour in model.palette],
        opset=OPSET,
        input=dict(
            name='image',
            layout='BCHW' if raw else 'BHWC',
            type='float32' if raw else 'uint8',
            colour=colour if raw else 'RGB',
            size=list(size) if size else 'dynamic',
            batch='dynamic' if graph.batch and size is None else 1,
        ),
        raw=raw,
        resize=graph.resize,
        mean=mean,
        std=std,
        align_corners=bool(getattr(model.model, 'align_corners', False)),
        masks=graph.masks,
        mask_threshold=None if roi_head is None else roi_head.test_cfg.get('mask_thr_binary', 0.5),
        outputs=dict(graph.outputs),
    )


def sha256(path: str) -> str:
    """Of a file."""
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
