"""What answers on one picture, or on a stream of them in constant memory, whatever computes the answer."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import InputError, last_line
from convnext_dense.expect import expect_number, expect_whole
from convnext_dense.predict.ahead import ahead
from convnext_dense.predict.inputs import Item, as_channels, check_readable, downloaded, is_one, is_url, items
from convnext_dense.predict.result import Result, nothing_of
from convnext_dense.predict.windows import Windowed
from convnext_dense.text import suggest

PRECISIONS = ('float32', 'bfloat16')
SCORE = 0.3
Skip = Callable[[Item, str], None]
Read = TypeVar('Read')


class Prepared(NamedTuple):
    """A picture as the model takes it, or why it cannot be read."""

    item: Item
    bgr: NDArray[np.uint8]
    data: Any
    why: str = ''
    tiled: bool = False
    image: NDArray | None = None  # what tiles are cut from


class Predictor(ABC):
    """A segmentor or a detector that is called on pictures.

    Args:
        classes, palette: names and colours.
        is_segmentor: whether it gives a class for each pixel; else it finds objects.
        batch_size: pictures of equal size, one after the other, that are computed together.
        score: objects below it are left out.
        chosen: indices of the classes that are kept; None for all.
    """

    channels: int | None = None  # of the pictures; None: three of bytes
    tiler: Any = None  # what predicts in tiles, where that is asked for

    def __init__(
        self,
        classes: tuple[str, ...],
        palette: Any,
        is_segmentor: bool,
        batch_size: int = 1,
        score: float = SCORE,
        chosen: tuple[int, ...] | None = None,
    ) -> None:
        expect_whole('batch_size', batch_size, 1)
        expect_number('score', score, 0)
        if score > 1:
            raise InputError(f'score: expected a number from 0 to 1, got {score:g}')
        self.classes, self.palette, self.is_segmentor = classes, palette, is_segmentor
        self.batch_size, self.score, self.chosen = batch_size, score, chosen

    def __repr__(self) -> str:
        what = 'segmentor' if self.is_segmentor else 'detector'
        return f'{type(self).__name__}({what} of {len(self.classes)} classes {self._where()})'

    def __call__(self, inputs: Any) -> Any:
        """A Result for one picture; a list of them for a list; an iterator for a folder, a pattern, a video and an iterator.

        See `as_bgr` and `as_channels` in `convnext_dense.predict.inputs` for pictures in memory.

        Raises:
            InputError: for what cannot be read; of an iterator, when it comes to it.
        """
        if is_one(inputs):
            return next(self.stream(inputs))
        found = self.stream(inputs)
        return list(found) if isinstance(inputs, (list, tuple)) else found

    def stream(self, inputs: Any, skip: Skip | None = None, recursive: bool = False, every: int = 1) -> Iterator[Result]:
        """Results in order, in constant memory. `skip` is told of what cannot be read, and why; without it that is an error.

        Pictures are read and prepared in threads beside the model. `recursive` looks into folders' folders; of a video each
        `every`-th frame is taken.
        """
        expect_whole('every', every, 1)
        source = self.items(inputs, recursive, every)
        return self._results(ahead(source, self.prepare, depth=2 * self.batch_size + 2), skip)

    def items(self, inputs: Any, recursive: bool = False, every: int = 1) -> Iterator[Item]:
        """The pictures in what is given, those in memory as this model takes them."""
        convert = None if self.channels is None else partial(as_channels, channels=self.channels)
        return items(inputs, recursive, every, convert)

    def _results(self, prepared: Iterable[Prepared], skip: Skip | None) -> Iterator[Result]:
        for batch in _batches(prepared, self.batch_size, self._shape):
            found: Sequence[Result | str] = [batch[0].why] if batch[0].why else self._predicted(batch)
            for one, result in zip(batch, found, strict=True):
                if isinstance(result, Result):
                    yield result
                elif skip is None:
                    raise InputError(f'{one.item.source}: {result}')
                else:
                    skip(one.item, result)

    @abstractmethod
    def prepare(self, item: Item) -> Prepared:
        """Read a picture and bring it to the model's input, as in testing."""

    @abstractmethod
    def rows(self, picture: Windowed) -> Iterator[NDArray[Any]]:
        """Of a segmentor with tiles: class indices of a picture of any size, some rows (h, W) at a time."""

    @abstractmethod
    def _predicted(self, batch: Sequence[Prepared]) -> Sequence[Result | str]:
        """A result for each; or for each why the model refused."""

    @abstractmethod
    def _shape(self, one: Prepared) -> Any:
        """What pictures that are computed together have in common."""

    @abstractmethod
    def _where(self) -> str:
        """By what it is computed, for its representation."""

    def _opened(self, item: Item, read: Callable[[str], Read]) -> Read:
        """What `read` makes of the picture's file, which is downloaded first where that is a URL.

        Raises:
            UnreadableError: whatever is wrong with it.
        """
        remote = is_url(item.given)
        path = downloaded(item.given) if remote else item.given
        try:
            if self.channels is None:
                check_readable(path)
            return read(path)
        except UnreadableError as error:
            raise UnreadableError(str(error).replace(path, item.source)) from error
        except InputError as error:  # of LoadChannels, which names the path
            raise UnreadableError(str(error).removeprefix(path).lstrip(': ')) from error
        except Exception as error:  # of what reads it
            raise UnreadableError(f'cannot be read ({last_line(error)})') from error
        finally:
            if remote:
                os.unlink(path)

    def _common(self, one: Prepared) -> dict[str, Any]:
        item = one.item
        shared = dict(classes=self.classes, palette=self.palette)
        return dict(name=item.name, source=item.source, file=item.file, bgr=one.bgr) | shared

    def _wanted(self, scores: NDArray, labels: NDArray) -> NDArray[np.bool_]:
        """Of a detector's objects: which are kept."""
        keep: NDArray[np.bool_] = scores >= self.score
        return keep if self.chosen is None else keep & np.isin(labels, self.chosen)

    def _kept(self, mask: NDArray) -> NDArray:
        """Of a segmentor: other classes than the chosen ones away."""
        if self.chosen is not None:
            mask[~np.isin(mask, self.chosen)] = nothing_of(len(self.classes))
        return mask


def chosen_classes(names: Sequence[str] | None, classes: tuple[str, ...]) -> tuple[int, ...] | None:
    """The indices of the classes that a user asks for.

    Raises:
        InputError: for names of none of them.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise InputError(f'classes: expected a list of names, got the text {names!r}')
    for name in names:
        if name not in classes:
            raise InputError(f'classes: expected names of the model, got {name!r}; {suggest(str(name), classes)}')
    return tuple(classes.index(name) for name in names)


def _batches(prepared: Iterable[Prepared], size: int, shape: Callable[[Prepared], Any]) -> Iterator[list[Prepared]]:
    """Up to `size` readable pictures, one after the other, that are equally large for the model; the others alone."""
    batch: list[Prepared] = []
    for one in prepared:
        if batch and (one.why or shape(one) != shape(batch[0])):
            yield batch
            batch = []
        batch.append(one)
        if one.why or len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
