"""Files of a trained model, each run by its own runtime and compared with PyTorch before it is kept."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError, doing
from convnext_dense.export.about import DETECTION, SEGMENTATION, described
from convnext_dense.export.check_pictures import Calibration, check_pictures
from convnext_dense.export.eight_bits import quantise
from convnext_dense.export.graphs import Graph, graph_of
from convnext_dense.export.options import Options, of_one_name, targets
from convnext_dense.export.parity import OBJECTS, SEGMENTS, Parity, Refused
from convnext_dense.export.proof import answers, limits_of, proof
from convnext_dense.export.quantised import WAYS, check_quantised
from convnext_dense.export.reference import Reference
from convnext_dense.export.runtimes import FORMS, check_installed, parts, size_of
from convnext_dense.predict.exported_tested import WINDOWS, by_windows
from convnext_dense.predict.model import Model

LIMITS = {SEGMENTATION: SEGMENTS, DETECTION: OBJECTS}
BOUNDS = {
    SEGMENTATION: f'{SEGMENTS["logits"]:g} of the largest logit and {SEGMENTS["pixels"]:.2%} of equal pixels',
    DETECTION: (
        f'{OBJECTS["boxes"]:g} pixels of the boxes, {OBJECTS["scores"]:g} of the scores and {OBJECTS["masks"]:.1%} of the '
        'masks, object by object'
    ),
}
NONE_FOUND = 'no object was found in any of the pictures, so that boxes are not proved: --check pictures with objects in them'
Say = Callable[[str], None]


def export_model(model: Model, source: str, out: str, forms: Sequence[str], options: Options, say: Say) -> bool:
    """Write a file for each of `forms`, and a description in JSON beside them; whether all of them give what PyTorch gives.

    A file that does not is not kept, nor is anything of a run that fails.
    """
    check_installed(forms)
    files = targets(out, forms)
    graph = graph_of(model, options.size, options.raw, options.masks)
    reference, limits = Reference(model, options.raw), limits_of(model)
    calibration: Calibration | tuple[()] = ()
    if options.int8:
        check_quantised(forms)
        calibration = Calibration(options.int8, options.size, reference.taken)
    pictures = list(check_pictures(options.check, options.size))
    if by_windows(model.cfg):
        say(f'{WINDOWS}, which is compared here')
    about = described(model, source, graph)
    bounds = BOUNDS[about['task']]
    known = list(answers(reference, pictures, graph.batch and graph.size is None))
    kept: dict[str, Any] = {}
    description = Path(out).with_suffix('.json')
    with doing('exporting'), tempfile.TemporaryDirectory(dir=Path(out).absolute().parent, prefix='.export_') as folder:
        for name, file in files.items():
            say(f'{name}: exporting …')
            begun, made = time.perf_counter(), Path(folder, file.name)
            FORMS[name].write(graph, made, about)
            rows = proof(name, made, known, limits, say)
            if not all(row.within for row in rows):
                beyond = sum(not row.within for row in rows)
                say(f'{name}: not kept: {beyond} of {len(rows)} comparisons are beyond {bounds}')
                for part in parts(name, made):
                    part.unlink()
                continue
            size, spent = size_of(name, made), round(time.perf_counter() - begun, 1)
            kept[name] = dict(file=file.name, bytes=size, seconds=spent, parity=[row.row() for row in rows])
            say(f'{name}: {file.name}, {size / 1e6:.1f} MB: all {len(rows)} comparisons are within {bounds}')
        whole = {name: Path(folder, files[name].name) for name in kept if name in WAYS}
        if calibration and whole:

            def compare(name: str, file: Path) -> list[Parity]:
                rows = proof(name, file, known, limits, say, f'{name} int8')
                for row in rows:
                    if isinstance(row, Refused):
                        raise InputError(str(row))
                return rows

            with in_integers(graph, whole, about) as sources:
                for name, found in quantise(whole, sources, model.cfg, calibration, compare, say).items():
                    kept[name]['int8'] = found
        if kept:
            found = about | dict(bounds=LIMITS[about['task']], files=kept)
            Path(folder, description.name).write_text(json.dumps(found, indent=1))
        # What others refer to goes first, the description last; an error before this leaves what was there before.
        made_files = sorted(Path(folder).iterdir(), key=lambda path: (path.suffix == '.json', path.suffix != '.bin'))
        for path in made_files:
            os.replace(path, description.with_name(path.name))
    made_now = {path.name for path in made_files}
    for path in of_one_name(out):
        if path.name not in made_now:
            say(f'{path} is of an earlier export')
    if not model.is_segmentor and not any(len(answer.theirs[1]) for answer in known):
        say(NONE_FOUND)
    return len(kept) == len(files)


@contextmanager
def in_integers(graph: Graph, files: Mapping[str, Path], about: Mapping[str, Any]) -> Iterator[Mapping[str, Path]]:
    """The files that those of eight bits are made from: the files themselves, or for as long as this others beside them."""
    own = graph.in_integers()
    if own is graph:
        yield files
        return
    folder = next(iter(files.values())).parent
    with tempfile.TemporaryDirectory(dir=folder, prefix='integers_') as place:
        sources = {name: Path(place, file.name) for name, file in files.items()}
        for name, source in sources.items():
            FORMS[name].write(own, source, about)
        yield sources
