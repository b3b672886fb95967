"""Predicting from inputs to files: options checked first, then pictures one after the other, then what was found, by class."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from convnext_dense.data.channels import TIFFS
from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import InputError, doing
from convnext_dense.files import check_file, partial_file
from convnext_dense.predict.ahead import ahead
from convnext_dense.predict.inputs import VIDEOS, Item, count
from convnext_dense.predict.loading import opened_file
from convnext_dense.predict.out_folder import OutFolder
from convnext_dense.predict.predictor import Predictor
from convnext_dense.predict.result import CLASS_COLUMNS, OBJECT_COLUMNS, WRITTEN, Result
from convnext_dense.predict.tiff_mask import write_mask
from convnext_dense.predict.tiles import OVERLAP
from convnext_dense.predict.video import CODECS, VideoWriter, pyav, rate
from convnext_dense.predict.windows import Tiff, is_tiff
from convnext_dense.run.command import PARTLY
from convnext_dense.text import table_text
from convnext_dense.weights.read_once import stamp_of


def predict_to_files(args: Namespace, load: Callable[..., Predictor]) -> int:
    """Predict on `args.input` by the model that `load` gives, and write to `args.out`; the exit status.

    Raises:
        InputError: for options that do not go together, and where not one picture could be read.
    """
    suffix = Path(args.out).suffix.lower()
    single = suffix in (*VIDEOS, *WRITTEN) and not Path(args.out).is_dir()
    if args.max_pixels is not None and args.max_pixels < 1:
        raise InputError(f'--max-pixels: expected 1 or more, got {args.max_pixels}')
    if args.every < 1:
        raise InputError(f'--every: expected 1 or more, got {args.every}')
    tile, bands = _tile(args.tile), _bands(args.bands)
    if tile is None and args.overlap != OVERLAP:
        raise InputError('--overlap: expected --tile with it')
    if single:
        _check_single(args, suffix)
    elif args.no_pictures and not args.format:
        raise InputError('--no-pictures: expected a --format with it, got none; nothing would be written')
    total = count(args.input, args.recursive)  # before the model is loaded: also whether the input is there
    chosen = [name.strip() for name in args.classes.split(',')] if args.classes else None
    folder = None if single else OutFolder(args.out, args.format, not args.no_pictures, _settings(args), args.resume)
    model = load(
        device=args.device,
        precision=args.precision,
        batch_size=args.batch_size,
        score=args.score,
        classes=chosen,
        tta=args.tta,
        tile=tile,
        overlap=args.overlap,
        bands=bands,
        threads=args.threads,
    )
    run = _Run(args, model, total)
    with doing('predicting'), _most_pixels(args.max_pixels):
        if folder is None:
            run.to_one_file(suffix)
        else:
            run.to_folder(folder)
    return run.ended(args.out)


@contextmanager
def _most_pixels(limit: int | None) -> Iterator[None]:
    """Pictures of up to `limit` pixels are read inside; Pillow has one limit for all of a process."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = limit or before
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _tile(text: str) -> int | str | None:
    """`--tile` as `load_model` takes it."""
    if text == 'off':
        return None
    if text != 'auto' and not text.isdecimal():
        raise InputError(f'--tile: expected auto, off or a number of pixels, got {text!r}')
    return text if text == 'auto' else int(text)


def _bands(text: str | None) -> tuple[int, ...] | None:
    """`--bands`, which counts from 1, as `load_model` takes it."""
    if text is None:
        return None
    given = [one.strip() for one in text.split(',')]
    if len(given) not in (1, 3) or not all(one.isdecimal() and int(one) for one in given):
        raise InputError(f'--bands: expected one or three numbers of channels, counted from 1, such as 3,2,1; got {text!r}')
    return tuple(int(one) - 1 for one in given)


def _settings(args: Namespace) -> dict[str, object]:
    """What the files depend on."""
    names = ('config', 'score', 'classes', 'precision', 'tta', 'every', 'tile', 'overlap')
    found = {name: getattr(args, name) for name in names}
    if args.bands is not None:
        found['bands'] = args.bands
    found['input'] = [one if '://' in one else os.path.abspath(one) for one in args.input]
    path = opened_file(args.model)
    found['checkpoint'] = path if '://' in path else [os.path.abspath(path), *stamp_of(path)[1:]]
    return found


def _check_single(args: Namespace, suffix: str) -> None:
    """Stop at options that one file has no place for."""
    for option, given in (('--format', args.format), ('--no-pictures', args.no_pictures), ('--resume', args.resume)):
        if given:
            raise InputError(f'{option}: expected a folder as --out with it, got the file {args.out}; name a folder')
    videos = [Path(one).suffix.lower() in VIDEOS for one in args.input]
    if suffix in VIDEOS:
        pyav()
        if suffix not in CODECS:
            raise InputError(f'--out: expected a video that ends in {", ".join(CODECS)}, got {args.out}; name it so')
        if videos != [True]:
            raise InputError(
                f'--out: expected a folder, or one video as input for the video {args.out}; got {len(videos)} inputs'
            )
    elif any(videos) or count(args.input, args.recursive) != 1:
        raise InputError(f'--out: expected a folder, or one picture as input for the picture {args.out}; name a folder')
    check_file('--out', args.out, suffix)
    if os.path.exists(args.out) and os.path.samefile(args.out, args.input[0]):
        raise InputError(f'--out: expected another file than the input, got {args.out}, which would be lost; name another')


class _Run:
    """Predictions on their way to files: what was found by class, what was skipped, and how fast it went."""

    def __init__(self, args: Namespace, model: Predictor, total: int | None) -> None:
        self.args, self.model, self.total = args, model, total
        self.counts: Counter[str] = Counter()
        self.skipped: list[str] = []
        self.written = 0
        self.start = time.perf_counter()

    def to_folder(self, folder: OutFolder) -> None:
        found = self.model.items(self.args.input, self.args.recursive, self.args.every)
        before = len(folder.done)
        results = self._stream(folder.left(found))
        with self._bar(before) as advance:
            for entry in ahead(results, folder.write):
                folder.record(entry)
                self.written += 1
                advance()
        if folder.done:
            columns = CLASS_COLUMNS if self.model.is_segmentor else OBJECT_COLUMNS
            folder.finish(self.model.classes, self.model.palette, columns)
        self.counts = folder.counts
        if before:
            print(f'{before} pictures were there already')
        self._check_any(bool(folder.done))

    def to_one_file(self, suffix: str) -> None:
        if suffix in TIFFS and self.model.tiler is not None:
            self._to_mask()
            return
        results = self._stream(self.model.items(self.args.input, self.args.recursive, self.args.every))
        if suffix in WRITTEN:
            for result in results:
                result.save(self.args.out)
                self._count(result)
            self._check_any(self.written > 0)
            return
        speed = rate(self.args.input[0]) / self.args.every
        with self._bar(0) as advance, partial_file(self.args.out) as partial:
            writer = VideoWriter(partial, suffix, speed)
            try:
                for result, picture in ahead(results, _with_picture):
                    writer.write(picture)
                    self._count(result)
                    advance()
            finally:
                writer.close()
            self._check_any(self.written > 0)

    def _to_mask(self) -> None:
        """Class indices of a picture that is read and written by windows."""
        (path,) = self.args.input
        if self.model.channels is not None:
            raise InputError(
                f'--out: expected a model of three channels of bytes for the mask {self.args.out}, made by windows; '
                f'got one of {self.model.channels} channels: name a folder, with --format png'
            )
        if not self.model.is_segmentor:
            raise InputError(f'--out: expected a segmentor for the mask {self.args.out}, got a detector; name a folder')
        if not is_tiff(path) or not os.path.isfile(path):
            raise InputError(f'--out: expected a TIFF as input for the mask {self.args.out}, got {path}; name a folder')
        try:
            with partial_file(self.args.out) as partial:
                self.counts = write_mask(self.model, Tiff(path), partial)
        except UnreadableError as error:
            raise InputError(f'input: {path} {error}') from error
        self.written = 1

    def ended(self, out: str) -> int:
        """Say what was found; the exit status."""
        seconds = time.perf_counter() - self.start
        unit = 'pixels' if self.model.is_segmentor else 'objects'
        table = Table('class', unit, *(['share'] if self.model.is_segmentor else []))
        for name, number in self.counts.most_common():
            table.add_row(name, f'{number:,}', *([f'{number / self.counts.total():.1%}'] if self.model.is_segmentor else []))
        print(table_text(table) if self.counts else f'no {unit} of any class')
        print(f'{self.written} pictures in {seconds:.1f} s ({self.written / seconds:.2f} a second), written to {out}')
        if self.skipped:
            print(f'{len(self.skipped)} could not be read and were left out', file=sys.stderr)
        return PARTLY if self.skipped else 0

    def _stream(self, source: Iterator[Item]) -> Iterator[Result]:
        return self.model.stream(source, None if self.args.strict else self._skip)

    def _skip(self, item: Item, why: str) -> None:
        self.skipped.append(f'{item.source} {why}')
        alone = self.total == 1 or (self.total is None and len(self.args.input) == 1 and not self.written)
        if not alone:  # a single one is the error itself
            print(f'left out: {self.skipped[-1]}', file=sys.stderr)

    def _check_any(self, any_written: bool) -> None:
        """Stop where nothing could be read."""
        if not any_written and self.skipped:
            several = f'not one of {len(self.skipped)} could be read; the first: ' if len(self.skipped) > 1 else ''
            raise InputError(f'input: {several}{self.skipped[0]}')

    def _count(self, result: Result) -> None:
        self.counts.update(result.counts())
        self.written += 1

    def _bar(self, done: int) -> _Bar:
        return _Bar(self.total, done)


def _with_picture(result: Result) -> tuple[Result, np.ndarray]:
    return result, np.asarray(result.picture())


class _Bar:
    """A progress bar with pictures per second, on a terminal; elsewhere nothing."""

    def __init__(self, total: int | None, done: int) -> None:
        columns = BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[speed]}'), TimeRemainingColumn()
        self.progress = Progress(*columns, disable=not sys.stdout.isatty())
        self.task = self.progress.add_task('', total=total, completed=done, speed='')
        self.written, self.start = 0, time.perf_counter()

    def __enter__(self) -> Callable[[], None]:
        self.progress.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def _advance(self) -> None:
        self.written += 1
        speed = self.written / (time.perf_counter() - self.start)
        self.progress.update(self.task, advance=1, speed=f'{speed:.2f} a second')
