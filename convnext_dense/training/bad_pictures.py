"""Pictures that cannot be read: in training another takes their place, and they are named and counted.

Loading runs in other processes: a sample carries what it stands for in its data sample's `bad_pictures`, a list of
[path, reason].
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import Dataset

from convnext_dense.errors import InputError, last_line
from convnext_dense.expect import expect_whole
from convnext_dense.text import listed
from convnext_dense.training.batches import samples_of
from convnext_dense.training.guard_hook import GuardHook, expect_share, warn

REPLACEMENTS = 10  # in a row, before the error is raised
FIRST = 20  # samples, of which not more than half may be bad
KEY = 'bad_pictures'


def path_of(dataset: Any, index: int) -> str:
    """The picture of a sample, as far as its data set tells; else its number."""
    try:
        return str(dataset.get_data_info(index)['img_path'])
    except Exception:  # a data set without, or whose entries are other things
        return f'sample {index}'


def failed_picture(error: Exception, dataset: Any, index: int) -> str:
    """The picture that a pipeline was at when it raised `error`, which may be another than that of `index`, as in a mosaic."""
    for frame in reversed([frame for frame, _ in traceback.walk_tb(error.__traceback__)]):
        results = frame.f_locals.get('results')
        path = results.get('img_path') if isinstance(results, dict) else None
        if isinstance(path, str):
            return path
    return path_of(dataset, index)


def read_or_replace(read: Callable[[int, int], Any], draw: Callable[[int], int], dataset: Any, index: int) -> Any:
    """The sample of `index`; where it cannot be read, one of another index in its place, which says so.

    Args:
        read: the sample of (index, attempt), with the generators seeded for it.
        draw: the index for an attempt.
        dataset: whose `get_data_info` names pictures.

    Raises:
        Exception: the first that reading raised, where ten others could not be read either; a MemoryError at once.
    """
    bad: list[list[str]] = []
    first: Exception | None = None
    for attempt in range(REPLACEMENTS + 1):
        try:
            sample = read(index, attempt)
        except MemoryError:
            raise
        except Exception as error:
            first = first or error
            bad.append([failed_picture(error, dataset, index), reason(error)])
            index = draw(attempt + 1)
        else:
            return _marked(sample, bad) if bad else sample
    assert first is not None
    raise first


def reason(error: Exception) -> str:
    """An exception in a few words."""
    words = last_line(error)
    return (words if isinstance(error, InputError) else f'{type(error).__name__}: {words}')[:300]


def _marked(sample: Any, bad: list[list[str]]) -> Any:
    held = samples_of(sample)
    if held:
        held[0].set_metainfo({KEY: bad})
    else:  # where it would be lost, it is told at once
        for path, why in bad:
            print_log(f'{path} cannot be read, another sample takes its place: {why}', 'current', logging.WARNING)
    return sample


class ReadableDataset(Dataset):
    """A data set for evaluation: a picture that cannot be read is an InputError with its path."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except MemoryError:
            raise
        except Exception as error:
            path, why = failed_picture(error, self.dataset, index), reason(error)
            raise InputError(f'{"" if path in why else path + ": "}{why}; evaluation needs every picture: repair it') from error

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or 'dataset' not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.dataset, name)


class CheckMaskSize:
    """A step of a pipeline: a mask must be as large as its picture."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        image, mask = results.get('img'), results.get('gt_seg_map')
        if image is None or mask is None:
            return results
        size = tuple(results.get('ori_shape') or image.shape)[:2]  # the picture may be resized before its mask is loaded
        if size != mask.shape[:2]:
            (height, width), (h, w) = size, mask.shape[:2]
            path = results.get('seg_map_path') or f'the mask of {results.get("img_path")}'
            raise InputError(f'{path}: expected a mask of {width} x {height} pixels, as its picture, got {w} x {h}')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


def check_mask_sizes(dataset: Any) -> None:
    """Have every pipeline in `dataset` compare a mask's size with its picture's as soon as it is loaded. Once is enough."""
    for steps in _pipelines(dataset):
        if not any(isinstance(step, CheckMaskSize) for step in steps):
            names = [type(step).__name__ for step in steps]
            loaded = [i for i, name in enumerate(names) if name.startswith('Load') and 'Annotations' in name]
            if loaded:
                steps.insert(loaded[-1] + 1, CheckMaskSize())


def _pipelines(dataset: Any) -> Iterator[list[Any]]:
    """The lists of steps of the data sets in a data set."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if isinstance(steps, list):
        yield steps
    inner = [getattr(dataset, name, None) for name in ('dataset', '_dataset')] + list(getattr(dataset, 'datasets', ()))
    for one in inner:
        if one is not None and one is not dataset:
            yield from _pipelines(one)


@HOOKS.register_module()
class BadPicturesHook(GuardHook):
    """Names each picture that was replaced, once, and stops a run with too many of them.

    Each process decides by what it has seen; where one stops, torchrun ends the others.

    Args:
        max_share: of the samples seen, the share from which different bad pictures are too many.
        least: bad pictures below which no share is too many. But more than half of the first 20 samples always are.
    """

    def __init__(self, max_share: float = 0.01, least: int = 20) -> None:
        expect_share('BadPicturesHook.max_share', max_share)
        expect_whole('BadPicturesHook.least', least, 1)
        self.max_share, self.least = max_share, least
        self.state: dict[str, Any] = dict(seen=0, replaced=0, bad={})

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count the batch's pictures, and tell of those that were replaced."""
        state, known = self.state, self.state['bad']
        for sample in samples_of(data_batch):
            found = sample.get(KEY) or ()
            state['seen'] += 1
            state['replaced'] += bool(found)
            for path, why in found:
                if path not in known:
                    known[path] = why
                    warn(runner, f'{path} cannot be read, another sample takes its place: {why}')
            if state['seen'] <= FIRST and state['replaced'] > FIRST // 2:
                raise self._too_many(state['replaced'], 'half of the first samples')
            if len(known) >= self.least and len(known) > self.max_share * state['seen']:
                raise self._too_many(len(known), f'{self.max_share:g} of the samples (BadPicturesHook.max_share)')

    def _too_many(self, count: int, limit: str) -> InputError:
        named = listed((f'{path} ({why})' for path, why in self.state['bad'].items()), 3)
        return InputError(
            f'training data: expected pictures that can be read, but for at most {limit}; got {count} bad ones in '
            f'{self.state["seen"]} samples: {named}; repair them, or take them out of the set'
        )
