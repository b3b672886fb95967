"""The order of training samples, which any number of processes continue at any iteration without reading what was seen.

An iteration takes `batch_size` times the number of processes samples from one order, which follows from (seed, pass): with the
same product, another number of processes is given the same samples at each iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import chain, count, islice
from typing import Any

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from convnext_dense.training.dataset import coded, resumable


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler[int]):
    """The codes of one pass over the data, of all processes together. `set_epoch` chooses the pass.

    Args:
        dataset: a `ResumableDataset`.
        shuffle: a permutation that follows from (seed, pass); else in order.
        seed: the same in every process; drawn where it is None. The resumable loops set it.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        resumable(dataset)
        self.dataset, self.shuffle, self.epoch = dataset, shuffle, 0
        self.seed = sync_random_seed() if seed is None else seed

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass that the next iterator is of."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        size, epoch = len(self.dataset), self.epoch
        order = range(size)
        if self.shuffle:
            generator = torch.Generator().manual_seed((self.seed + epoch) % 2**63)
            order = torch.randperm(size, generator=generator).tolist()  # type: ignore[assignment]
        return (coded(epoch, index) for index in order)

    def __len__(self) -> int:
        return len(self.dataset)


@DATA_SAMPLERS.register_module()
class ResumableBatchSampler(Sampler[list[int]]):
    """Batches of codes for this process, from any iteration on.

    Args:
        sampler: a `ResumableSampler`; any other sampler is taken as one of this process alone, whose samples up to `start`
            are drawn and left out, without being read.
        batch_size: samples of an iteration in this process.
        batch_sampler: what groups samples, such as dict(type='AspectRatioBatchSampler'); it is given the samples of all
            processes, so that those of an iteration are of one group everywhere.
        endless: passes follow each other without end, as a loop by iterations takes them; a batch may be of two of them.
        drop_last: leave out the last samples of a pass where they fill no iteration.

    Attributes:
        fixed_seed: the config gives the sampler its seed. The resumable loops set it, and the seed otherwise.
        start: iterations that are left out: of the pass, or of all where `endless`. The resumable loops set it.
        before: iterations of earlier passes, which a sampler of another kind does not tell. The resumable loops set it.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        batch_sampler: dict[str, Any] | None = None,
        endless: bool = False,
        drop_last: bool = False,
    ) -> None:
        self.rank, self.processes = get_dist_info()
        self.shared = isinstance(sampler, ResumableSampler)
        self.sampler, self.batch_size, self.grouping = sampler, batch_size, batch_sampler
        self.endless, self.drop_last, self.start, self.before = endless, drop_last, 0, 0
        self.fixed_seed = False
        if batch_sampler is not None:
            self._grouped()  # what is wrong with it shows now

    @property
    def images(self) -> int:
        """Samples of an iteration in all processes."""
        return self.batch_size * self.processes

    def __len__(self) -> int:
        """Iterations of a pass."""
        if self.grouping is not None:
            return len(self._grouped())
        size, step = len(self.sampler), self._drawn()  # type: ignore[arg-type]
        return size // step if self.drop_last else -(-size // step)

    def __iter__(self) -> Iterator[list[int]]:
        for number, codes in enumerate(self._from_start(), self.before + self.start):
            if self.shared:
                short = -len(codes) % self.processes  # at the end of a pass, where some are given twice
                yield (codes + codes * short)[: len(codes) + short][self.rank :: self.processes]
            else:  # whose indices say nothing of the pass: each iteration is one
                yield [coded(number * self.processes + self.rank, index) for index in codes]

    def _drawn(self) -> int:
        """Samples that an iteration draws: of all processes, or of this one from a sampler of its own."""
        return self.images if self.shared else self.batch_size

    def _from_start(self) -> Iterator[list[int]]:
        """What each iteration draws, from `start` on."""
        if not self.endless:
            return islice(self._pass(getattr(self.sampler, 'epoch', 0)), self.start, None)
        if self.shared and self.grouping is None:
            first, skipped = divmod(self.start * self.images, len(self.sampler))  # type: ignore[arg-type]
            stream = islice(chain.from_iterable(map(self._codes, count(first))), skipped, None)
            return _chunks(stream, self.images)
        first, skipped = divmod(self.start, len(self)) if self.shared else (0, self.start)
        return islice(chain.from_iterable(map(self._pass, count(first))), skipped, None)

    def _pass(self, number: int) -> Iterator[list[int]]:
        codes = self._codes(number)
        if self.grouping is not None:
            return iter(self._grouped())
        chunks = _chunks(codes, self._drawn())
        return islice(chunks, len(self)) if self.drop_last else chunks

    def _codes(self, number: int) -> Iterator[int]:
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(number)
        return iter(self.sampler)

    def _grouped(self) -> Any:
        """What groups samples, made anew: one that was left in the middle of a pass keeps its groups."""
        default = dict(sampler=self.sampler, batch_size=self._drawn())
        own = dict(drop_last=True) if self.drop_last else {}
        return DATA_SAMPLERS.build({**(self.grouping or {}), **own}, default_args=default)


def _chunks(codes: Iterator[int], size: int) -> Iterator[list[int]]:
    return iter(lambda: list(islice(codes, size)), [])
