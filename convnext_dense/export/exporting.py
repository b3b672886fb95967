"""Files of a trained segmentor, each run by its own runtime and compared with PyTorch before it is kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError
from convnext_dense.export.check_pictures import check_pictures
from convnext_dense.export.parity import LOGITS, PIXELS, Parity, compared
from convnext_dense.export.runtimes import FORMS, OPSET, Size, check_installed
from convnext_dense.export.segmentor_graph import SegmentorGraph
from convnext_dense.files import check_file, partial_file
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.predict.model import Model
from convnext_dense.version import __version__

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


def export_segmentor(
    model: Model, source: str, out: str, forms: Sequence[str], size: Size, check: str | None, say: Say
) -> bool:
    """Write a file for each of `forms`, and OUT.json about them; whether all of them give what PyTorch gives.

    A file that does not is not kept, nor is anything of a run that fails.
    """
    check_installed(forms)
    files = targets(out, forms)
    if not model.is_segmentor:
        raise InputError(f'export: expected a segmentor, got {type(model.model).__name__}: detectors are not exported yet')
    graph, pictures = SegmentorGraph(model.model).eval(), list(check_pictures(check, size))
    if model.cfg.model.get('test_cfg', {}).get('mode') == 'slide':
        say('the config predicts by windows; the file takes the whole picture at once, which is compared here')
    about = described(model, source, size)
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=Path(out).absolute().parent, prefix='.export_') as folder:
        for name, file in files.items():
            begun, made = time.perf_counter(), Path(folder, file.name)
            FORMS[name].write(graph, made, size, about)
            rows = compared(model.model, FORMS[name].run(made), pictures)
            parts = [path for path in Path(folder).iterdir() if path.stem == file.stem]
            for row in rows:
                say(_line(name, row))
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
                say(f'{name}: not kept: beyond {LOGITS:g} of the logits, or below {PIXELS:.2%} of equal pixels')
    if kept:
        with partial_file(Path(out).with_suffix('.json')) as partial:
            partial.write_text(json.dumps(about | dict(files=kept), indent=1))
    return len(kept) == len(files)


def described(model: Model, source: str, size: Size) -> dict[str, Any]:
    """What stands in a file about itself."""
    return dict(
        made_by=f'convnext_dense {__version__}',
        checkpoint=os.path.basename(source),
        sha256=sha256(source),
        classes=list(model.classes),
        palette=[list(colour) for colour in model.palette],
        opset=OPSET,
        input=dict(name='image', layout='BHWC', type='uint8', colour='RGB', size=list(size) if size else 'dynamic'),
        outputs=dict(classes='(B, H, W) of class indices', logits='(B, classes, h, w), before they are upsampled'),
    )


def sha256(path: str) -> str:
    """Of a file."""
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _line(name: str, row: Parity) -> str:
    return (
        f'{name}: {row.picture} at {row.height}x{row.width}: logits differ by {row.logits:.1e} of the largest, '
        f'{row.pixels:.4%} of the pixels are equal'
    )
