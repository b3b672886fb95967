"""A data set whose samples follow from (seed, pass, index) alone."""

import copy
import pickle
import random
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader, Dataset

from convnext_dense import InputError
from convnext_dense.training.dataset import PASS, ResumableDataset, coded, index_of, resumable
from convnext_dense.training.sampler import ResumableBatchSampler, ResumableSampler


class Draws(Dataset):
    """Samples of (index, draws of each generator)."""

    metainfo: ClassVar = dict(classes=('a',))

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> list[float]:
        return [index, random.random(), np.random.rand(), torch.rand(1).item()]

    def get_data_info(self, index: int) -> dict[str, Any]:
        return dict(img_path=f'{index}.png', width=2 + index % 2, height=2)

    def get_cat_ids(self, index: int) -> list[int]:
        return [index]


def test_codes() -> None:
    assert [index_of(coded(number, 7)) for number in (0, 3, 10**6)] == [7, 7, 7] and coded(1, 0) == PASS


def test_a_sample_follows_from_seed_pass_and_index() -> None:
    dataset = ResumableDataset(Draws(), seed=3)
    first = dataset[coded(2, 4)]
    random.random(), torch.rand(3)
    assert dataset[coded(2, 4)] == first and first[0] == 4
    others = [dataset[coded(2, 3)], dataset[coded(3, 4)], dataset[4], ResumableDataset(Draws(), seed=4)[coded(2, 4)]]
    assert len({tuple(sample[1:]) for sample in (first, *others)}) == 5
    assert dataset[np.int64(coded(2, 4))] == first


@pytest.mark.parametrize('workers', [1, 3])
def test_loading_processes_give_the_same_samples(workers: int) -> None:
    codes = [coded(number, index) for number in (0, 1) for index in range(5)]
    dataset = ResumableDataset(Draws(), seed=3)
    alone = [dataset[code] for code in codes]
    loader = DataLoader(dataset, sampler=codes, batch_size=1, num_workers=workers, collate_fn=lambda batch: batch[0])
    assert list(loader) == alone


def test_the_rest_is_the_data_set_s_own() -> None:
    dataset = ResumableDataset(Draws())
    assert len(dataset) == 5 and dataset.metainfo == Draws.metainfo
    assert dataset.get_data_info(coded(3, 1))['img_path'] == '1.png' and dataset.get_cat_ids(coded(3, 1)) == [1]
    with pytest.raises(AttributeError, match='nothing'):
        dataset.nothing  # noqa: B018
    for again in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert again[coded(1, 1)] == dataset[coded(1, 1)]


def test_it_is_built_from_a_dict() -> None:
    class Listed(BaseDataset):
        def load_data_list(self) -> list[dict]:
            return [dict(number=i) for i in range(3)]

    built = DATASETS.build(dict(type='ResumableDataset', dataset=dict(type=Listed, serialize_data=False)))
    built.full_init()
    assert [built[coded(4, i)]['number'] for i in range(3)] == [0, 1, 2]


def test_it_tells_which_sample_each_process_is_at() -> None:
    class Looks(Draws):
        def __getitem__(self, index: int) -> list[int]:
            return dataset.reading[:3].tolist()

    dataset = ResumableDataset(Looks())
    assert dataset[coded(2, 3)] == [3, -1, -1] and dataset.reading.max() == -1
    loader = DataLoader(dataset, sampler=[2], num_workers=2, batch_size=1, collate_fn=lambda batch: batch[0])
    assert list(loader) == [[2, -1, -1]]


def test_it_is_found_within_a_part_of_it() -> None:
    class Part:
        def __init__(self, dataset: Any) -> None:
            self._dataset = dataset

    dataset = ResumableDataset(Draws())
    assert resumable(dataset) is dataset and resumable(Part(dataset)) is dataset  # type: ignore[arg-type]
    with pytest.raises(InputError, match='expected type ResumableDataset around Draws'):
        ResumableSampler(Draws())
    assert len(ResumableBatchSampler(ResumableSampler(dataset, seed=0), 2)) == 3
