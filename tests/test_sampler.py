"""The order of training samples, from any iteration on, for any number of processes."""

from collections import Counter
from itertools import chain, islice
from unittest.mock import patch

import pytest
from mmdet.datasets.samplers import AspectRatioBatchSampler  # noqa: F401
from mmengine.dataset import DefaultSampler, InfiniteSampler
from test_dataset import Draws

from convnext_dense import InputError
from convnext_dense.training.dataset import PASS, ResumableDataset, index_of
from convnext_dense.training.sampler import ResumableBatchSampler, ResumableSampler

GROUPED = dict(type='mmdet.AspectRatioBatchSampler')


class Sized(Draws):
    """Samples of which each third is a portrait."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def get_data_info(self, index: int) -> dict:
        return dict(width=1 if index % 3 == 0 else 3, height=2)


def batches(size: int, batch: int, rank: int = 0, processes: int = 1, start: int = 0, epoch: int = 0, **options):
    """A batch sampler of one of several processes; `count` of its batches where it is endless."""
    with patch('convnext_dense.training.sampler.get_dist_info', return_value=(rank, processes)):
        sampler = ResumableSampler(ResumableDataset(Sized(size)), seed=3)
        made = ResumableBatchSampler(sampler, batch, **options)
    sampler.set_epoch(epoch)
    made.start = start
    return made


def taken(made: ResumableBatchSampler, count: int = 25) -> list[list[int]]:
    return list(islice(iter(made), count))


@pytest.mark.parametrize('grouped', [None, GROUPED])
def test_a_pass_has_every_sample_once(grouped) -> None:
    for size, batch in [(9, 2), (8, 4), (1, 3), (5, 5), (7, 1)]:
        made = batches(size, batch, batch_sampler=grouped)
        found = taken(made)
        assert len(found) == len(made) and sorted(map(index_of, chain(*found))) == list(range(size))
        assert all(len(one) == batch for one in found[:-1])
    first, second = (taken(batches(9, 2, epoch=epoch, batch_sampler=grouped)) for epoch in (0, 1))
    assert [[index_of(code) for code in one] for one in first] != [[index_of(code) for code in one] for one in second]
    assert {code // PASS for one in second for code in one} == {1}


@pytest.mark.parametrize('grouped', [None, GROUPED])
@pytest.mark.parametrize('endless', [False, True])
@pytest.mark.parametrize('size, batch', [(9, 2), (3, 4), (8, 4)])
def test_it_goes_on_from_any_iteration(grouped, endless: bool, size: int, batch: int) -> None:
    whole = taken(batches(size, batch, batch_sampler=grouped, endless=endless))
    for start in range(len(whole)):
        rest = taken(batches(size, batch, start=start, batch_sampler=grouped, endless=endless), 25 - start)
        assert rest == whole[start:], start


def test_a_batch_without_end_is_of_two_passes() -> None:
    found = taken(batches(3, 2, endless=True), 6)
    assert [len(one) for one in found] == [2] * 6
    assert [code // PASS for one in found for code in one] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert Counter(index_of(code) for one in found for code in one) == {0: 4, 1: 4, 2: 4}


@pytest.mark.parametrize('grouped', [None, GROUPED])
@pytest.mark.parametrize('endless', [False, True])
def test_processes_share_what_one_would_take(grouped, endless: bool) -> None:
    """The same samples at each iteration; those of an iteration are of one group in all processes."""
    alone = taken(batches(11, 4, batch_sampler=grouped, endless=endless))
    each = [taken(batches(11, 2, rank, 2, batch_sampler=grouped, endless=endless)) for rank in (0, 1)]
    assert len(each[0]) == len(each[1]) == len(alone)
    for one, *parts in zip(alone, *each):
        assert set(one) == set(chain(*parts)) and len(parts[0]) == len(parts[1])


def test_processes_get_equally_many_at_the_end_of_a_pass() -> None:
    each = [taken(batches(5, 2, rank, 2)) for rank in (0, 1)]
    assert [[len(one) for one in part] for part in each] == [[2, 1], [2, 1]]
    three = [taken(batches(4, 1, rank, 3)) for rank in range(3)]
    assert [len(part[-1]) for part in three] == [1, 1, 1] and len({part[-1][0] for part in three}) == 1


@pytest.mark.parametrize('grouped', [None, GROUPED])
def test_the_last_samples_can_be_left_out(grouped) -> None:
    made = batches(9, 2, batch_sampler=grouped, drop_last=True)
    assert len(made) == 4 and [len(one) for one in taken(made)] == [2] * 4
    assert [len(one) for one in taken(made)] == [2] * 4, 'a second pass has no groups of the first'


def test_what_was_left_in_the_middle_is_not_kept() -> None:
    made = batches(9, 2, batch_sampler=GROUPED)
    next(iter(made))
    assert taken(made) == taken(batches(9, 2, batch_sampler=GROUPED))


def test_in_order_without_shuffling() -> None:
    sampler = ResumableSampler(ResumableDataset(Sized(4)), shuffle=False, seed=0)
    sampler.set_epoch(2)
    assert [index_of(code) for code in sampler] == [0, 1, 2, 3] and len(sampler) == 4


@pytest.mark.parametrize('cls, endless', [(DefaultSampler, False), (InfiniteSampler, True), (DefaultSampler, True)])
def test_another_sampler_is_drawn_and_left_out(cls, endless: bool) -> None:
    def made(start: int) -> ResumableBatchSampler:
        sampler = ResumableBatchSampler(cls(ResumableDataset(Sized(5)), shuffle=True, seed=3), 2, endless=endless)
        sampler.start = start
        return sampler

    whole = taken(made(0), 9)
    assert len(whole) == (9 if endless else 3)
    for start in range(len(whole)):
        assert taken(made(start), 9 - start) == whole[start:]
    assert len({code // PASS for one in whole for code in one}) == len(whole), 'each iteration draws anew'


def test_what_is_wrong_with_a_grouping_shows_at_once() -> None:
    with pytest.raises(Exception, match='Nothing is not in'):
        batches(4, 2, batch_sampler=dict(type='Nothing'))
    with pytest.raises(InputError, match='ResumableDataset around Sized'):
        ResumableSampler(Sized(3))
