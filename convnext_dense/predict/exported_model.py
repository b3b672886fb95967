"""An exported file that answers on pictures as a trained model does, by its own runtime and without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.pictures import UnreadableError, read_bgr
from convnext_dense.errors import InputError, last_line
from convnext_dense.expect import expect_whole
from convnext_dense.predict.exported_about import About, parsed
from convnext_dense.predict.exported_picture import class_map, given_to, objects
from convnext_dense.predict.exported_session import Session, open_session
from convnext_dense.predict.inputs import Item
from convnext_dense.predict.predictor import SCORE, Predictor, Prepared, chosen_classes
from convnext_dense.predict.result import Result, index_type
from convnext_dense.predict.windows import Windowed

NEEDED = {True: {'classes', 'logits'}, False: {'boxes', 'scores', 'labels'}}  # outputs, of a segmentor or a detector


class ExportedFile:
    """A file of `convnext-dense export`, opened by its runtime. `about` is what it says about itself.

    Args:
        path: a `.onnx` file, or a `.xml` file with its `.bin` beside it.
        threads: that compute; None for as many as the runtime takes.

    Raises:
        InputError: where the runtime is not installed, or the file is not whole, not of this project, or beyond the runtime.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        if threads is not None:
            expect_whole('threads', threads, 1)
        self.path = os.fspath(path)
        session: Session = open_session(path, threads)
        try:
            self.about: About = parsed(session.text)
        except InputError as error:
            raise InputError(f'model {self.path}: {error}') from error
        self._run = session.run

    def run(self, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The outputs by name, of a batch as `exported_picture.given_to` makes it of pictures.

        Raises:
            InputError: where the runtime refuses it, or the outputs are not those of the file's task.
        """
        outputs = self._run(images)
        needed = NEEDED[self.about.is_segmentor] | ({'masks'} if self.about.masks is not None else set())
        if not needed <= set(outputs):
            lacking = ', '.join(sorted(needed - set(outputs)))
            raise InputError(
                f'model {self.path}: expected the outputs {lacking} too, got {", ".join(outputs)}; export it again'
            )
        return outputs


class ExportedModel(Predictor):
    """An exported file that is called on pictures. `file` is the opened file."""

    def __init__(
        self, file: ExportedFile, batch_size: int = 1, score: float = SCORE, classes: Sequence[str] | None = None
    ) -> None:
        about = self.about = file.about
        chosen = chosen_classes(classes, about.classes)
        super().__init__(about.classes, about.palette, about.is_segmentor, batch_size, score, chosen)
        if about.batch is not None and batch_size > about.batch:
            raise InputError(f'batch_size: expected 1, which {file.path} is exported for, got {batch_size}')
        self.file = file

    def prepare(self, item: Item) -> Prepared:
        """See Predictor."""
        try:
            bgr = self._loaded(item)
        except UnreadableError as error:
            return Prepared(item, np.empty((0, 0, 3), np.uint8), None, str(error))
        try:
            return Prepared(item, bgr, given_to(self.about, bgr))
        except InputError as error:
            return Prepared(item, bgr, None, last_line(error))

    def rows(self, picture: Windowed) -> Iterator[NDArray[Any]]:
        """See Predictor: an exported file sees no tiles."""
        raise InputError(f'tile: expected a checkpoint, got the exported file {self.file.path}')

    def _loaded(self, item: Item) -> NDArray[np.uint8]:
        if isinstance(item.given, UnreadableError):
            raise item.given
        if isinstance(item.given, np.ndarray):
            return item.given
        bgr = self._opened(item, lambda path: read_bgr(Path(path)))
        if bgr is None:
            raise UnreadableError('cannot be read (OpenCV does not know it)')
        return bgr

    def _predicted(self, batch: Sequence[Prepared]) -> Sequence[Result | str]:
        try:
            outputs = self.file.run(np.stack([one.data for one in batch]))
        except InputError as error:
            return [f'is not taken by the model ({last_line(error)})' for _ in batch]
        return [self._result(one, outputs, index) for index, one in enumerate(batch)]

    def _result(self, one: Prepared, outputs: Mapping[str, NDArray[Any]], index: int) -> Result:
        given = one.data.shape[1:] if self.about.channels_first else one.data.shape[:2]
        size = one.bgr.shape[0], one.bgr.shape[1]
        if self.is_segmentor:
            mask = class_map(self.about, outputs, index, given, size).astype(index_type(len(self.classes)))
            return Result(**self._common(one), mask=self._kept(mask))
        own = {name: values[index : index + 1] for name, values in outputs.items()}
        found = objects(self.about, own, given, size, self._wanted)
        arrays: dict[str, Any] = dict(boxes=found.boxes, scores=found.scores, labels=found.labels)
        return Result(**self._common(one), **arrays, mask_data=found.patches)

    def _shape(self, one: Prepared) -> Any:
        return one.data.shape

    def _where(self) -> str:
        return f'in {os.path.basename(self.file.path)}'
