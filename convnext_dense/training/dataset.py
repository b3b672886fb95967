"""A data set whose samples follow from (seed, pass, index) alone, whichever process loads them, whatever came before."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import torch
from mmengine.registry import DATASETS
from torch.utils.data import Dataset, get_worker_info

from convnext_dense.errors import InputError
from convnext_dense.training.bad_pictures import check_mask_sizes, read_or_replace
from convnext_dense.training.seeding import seed_generators, seed_of

PASS = 2**40  # a sampler's number for a sample is number of the pass * PASS + index
MAX_WORKERS = 1024


def coded(number: int, index: int) -> int:
    """Sample `index` of the pass `number` over the data as one integer, which samplers and loaders hand on."""
    return number * PASS + index


def index_of(code: int) -> int:
    """The index alone."""
    return int(code) % PASS


@DATASETS.register_module()
class ResumableDataset(Dataset):
    """Any data set, with every generator seeded anew for each sample by (seed, pass, index).

    Its samples are asked for by the codes of `ResumableBatchSampler`; a plain index is one of the pass 0. Everything else,
    such as `metainfo` and `get_data_info`, is the data set's own.

    Args:
        dataset: a data set, or the dict that builds one.
        seed: of the run; the resumable loops set it.
        on_error: 'skip', another sample takes the place of one that cannot be read (see `BadPicturesHook`); or 'raise'.

    Attributes:
        reading: (MAX_WORKERS,) index that each loading process is at, -1 for none; shared with them.
    """

    def __init__(self, dataset: dict[str, Any] | Dataset, seed: int = 0, on_error: str = 'skip') -> None:
        if on_error not in ('skip', 'raise'):
            raise InputError(f"ResumableDataset.on_error: expected 'skip' or 'raise', got {on_error!r}")
        inner: Any = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if isinstance(inner, ResumableDataset):  # a second one around it would seed in vain
            inner, on_error = inner.dataset, inner.on_error
        self.seed, self.on_error = seed, on_error
        self.dataset: Any = inner
        check_mask_sizes(self.dataset)
        self.reading = torch.full((MAX_WORKERS,), -1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, code: int) -> Any:
        number, index = divmod(int(code), PASS)
        worker = get_worker_info()
        slot = worker.id % MAX_WORKERS if worker else 0

        def read(one: int, attempt: int) -> Any:
            self.reading[slot] = one
            seed_generators(self.seed, number, index, *([attempt] if attempt else []), devices=worker is None)
            return self.dataset[one]

        def draw(attempt: int) -> int:
            return seed_of(self.seed, number, index, attempt) % len(self)

        sample = read(index, 0) if self.on_error == 'raise' else read_or_replace(read, draw, self.dataset, index)
        self.reading[slot] = -1
        return sample

    def get_data_info(self, code: int) -> Any:
        """As the data set's, of a code or an index."""
        return self.dataset.get_data_info(index_of(code))

    def get_cat_ids(self, code: int) -> Any:
        """As the data set's, of a code or an index."""
        return self.dataset.get_cat_ids(index_of(code))

    def __setattr__(self, name: str, value: Any) -> None:
        """What hooks set, as a pipeline, is the data set's."""
        own = name in ('dataset', 'seed', 'on_error', 'reading') or 'dataset' not in self.__dict__
        object.__setattr__(self, name, value) if own else setattr(self.dataset, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or 'dataset' not in self.__dict__:  # as copying and unpickling ask before there is one
            raise AttributeError(name)
        return getattr(self.dataset, name)


def resumable(dataset: Sized) -> ResumableDataset:
    """The ResumableDataset in `dataset`, which may be a part of one (mmengine's num_batch_per_epoch).

    Raises:
        InputError: if there is none.
    """
    inner: Any = dataset
    while inner is not None and not isinstance(inner, ResumableDataset):
        inner = getattr(inner, '_dataset', None)
    if inner is None:
        raise InputError(
            f'train_dataloader.dataset: expected type ResumableDataset around {type(dataset).__name__}, which a resumable '
            "sampler needs; write dataset=dict(type='ResumableDataset', dataset=...)"
        )
    return inner
