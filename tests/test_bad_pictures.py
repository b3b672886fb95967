"""Pictures that cannot be read: replaced in training, the same in every run, counted, and a limit; an error in evaluation."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import forgotten
from guard_runs import tiny_run
from mmengine.dataset import BaseDataset, Compose, ConcatDataset, RepeatDataset, pseudo_collate
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader, Dataset

from convnext_dense import InputError
from convnext_dense.training.bad_pictures import (
    REPLACEMENTS,
    BadPicturesHook,
    CheckMaskSize,
    ReadableDataset,
    check_mask_sizes,
    path_of,
    read_or_replace,
)
from convnext_dense.training.dataset import ResumableDataset, coded


class Broken(Dataset):
    """Samples of random numbers; those of `bad` cannot be read."""

    def __init__(self, size: int = 12, bad: Any = (), error: Exception | None = None) -> None:
        self.size, self.bad, self.error = size, set(bad), error or OSError('image file is truncated')

    def __len__(self) -> int:
        return self.size

    def get_data_info(self, index: int) -> dict[str, Any]:
        return dict(img_path=f'{index}.png')

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = torch.rand(3, 4, 4)  # as augmentation draws before the fault
        if index in self.bad:
            raise self.error
        sample = BaseDataElement(metainfo=dict(img_path=f'{index}.png', spoilt=False))
        return dict(inputs=x, data_samples=sample)


def of(sample: dict[str, Any]) -> tuple[str, float, Any]:
    return sample['data_samples'].img_path, float(sample['inputs'].sum()), sample['data_samples'].get('bad_pictures')


def test_another_takes_its_place_and_says_so() -> None:
    data = ResumableDataset(Broken(bad=[3]), seed=5)
    path, _, bad = of(data[3])
    assert path != '3.png' and bad == [['3.png', 'OSError: image file is truncated']]
    assert of(data[2])[2] is None and data.reading.tolist() == [-1] * len(data.reading)
    assert len({of(data[coded(number, 3)])[0] for number in range(8)}) > 2  # not the same one in each pass


def test_it_is_the_same_for_every_number_of_workers() -> None:
    codes = [coded(number, index) for number in range(2) for index in range(12)]
    found = []
    for workers in (0, 1, 2):
        data = ResumableDataset(Broken(bad=[1, 4, 5, 9]), seed=5)
        loader = DataLoader(
            data, batch_sampler=[codes[i : i + 3] for i in range(0, 24, 3)], num_workers=workers, collate_fn=list
        )
        found.append([of(sample) for batch in loader for sample in batch])
    assert found[0] == found[1] == found[2]
    assert [bad is not None for _, _, bad in found[0][:12]] == [i in (1, 4, 5, 9) for i in range(12)]


def test_several_in_a_row_and_then_the_error() -> None:
    with pytest.raises(OSError, match='truncated'):
        ResumableDataset(Broken(bad=range(12)))[0]
    tried: list[tuple[int, int]] = []

    def read(index: int, attempt: int) -> Any:
        tried.append((index, attempt))
        if attempt < REPLACEMENTS:
            raise KeyError(index)
        return dict(data_samples=BaseDataElement())

    sample = read_or_replace(read, lambda attempt: 100 + attempt, Broken(), 7)
    assert tried == [(7, 0)] + [(100 + i, i) for i in range(1, REPLACEMENTS + 1)]
    assert [path for path, _ in sample['data_samples'].bad_pictures] == ['7.png'] + [f'{100 + i}.png' for i in range(1, 10)]


def test_too_little_memory_is_no_bad_picture() -> None:
    with pytest.raises(MemoryError):
        ResumableDataset(Broken(bad=[0], error=MemoryError()))[0]


def test_to_raise_at_once() -> None:
    with pytest.raises(OSError, match='truncated'):
        ResumableDataset(Broken(bad=[0]), on_error='raise')[0]
    with pytest.raises(InputError, match="ResumableDataset.on_error: expected 'skip' or 'raise', got 'ignore'"):
        ResumableDataset(Broken(), on_error='ignore')


def test_samples_without_a_data_sample_are_told_at_once(logged: list[str]) -> None:
    class Plain(Broken):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index)['inputs']

    ResumableDataset(Plain(bad=[2]))[2]
    assert logged == ['2.png cannot be read, another sample takes its place: OSError: image file is truncated']


def test_a_data_set_that_names_no_pictures() -> None:
    assert path_of([1, 2], 1) == 'sample 1' and path_of(Broken(), 1) == '1.png'


def test_evaluation_names_the_picture() -> None:
    data = ReadableDataset(Broken(bad=[1]))
    assert len(data) == 12 and data.size == 12 and of(data[0])[0] == '0.png'
    with pytest.raises(InputError) as error:
        data[1]
    assert str(error.value) == '1.png: OSError: image file is truncated; evaluation needs every picture: repair it'
    with pytest.raises(InputError, match=r'^1.png: 8 channels; evaluation'):
        ReadableDataset(Broken(bad=[1], error=InputError('1.png: 8 channels')))[1]
    with pytest.raises(MemoryError):
        ReadableDataset(Broken(bad=[1], error=MemoryError()))[1]


class LoadPicture:
    def __call__(self, results: dict) -> dict:
        return results | dict(img=np.zeros((6, 8, 3)))


class LoadTheAnnotations:
    def __call__(self, results: dict) -> dict:
        return results | dict(gt_seg_map=np.zeros(results.get('size', (6, 8))))


def data_set(*steps: Any) -> BaseDataset:
    made = BaseDataset(lazy_init=True)
    made.pipeline = Compose(list(steps))
    return made


@pytest.mark.parametrize(
    'wrap', [lambda one: one, lambda one: RepeatDataset(one, 2, lazy_init=True), lambda one: ResumableDataset(one)]
)
def test_sizes_are_compared_as_soon_as_both_are_loaded(wrap) -> None:
    inner = data_set(LoadPicture(), LoadTheAnnotations(), dict)
    for _ in range(2):
        check_mask_sizes(wrap(inner))
    steps = inner.pipeline.transforms
    assert [type(step).__name__ for step in steps] == ['LoadPicture', 'LoadTheAnnotations', 'CheckMaskSize', 'type']
    inner.pipeline(dict())
    with pytest.raises(InputError, match=r'^m.png: expected a mask of 8 x 6 pixels, as its picture, got 4 x 5$'):
        inner.pipeline(dict(seg_map_path='m.png', size=(5, 4)))


def test_data_sets_side_by_side_and_without_masks() -> None:
    one, other = data_set(LoadPicture(), LoadTheAnnotations()), data_set(LoadPicture())
    check_mask_sizes(ConcatDataset([one, other], lazy_init=True))
    assert len(one.pipeline.transforms) == 3 and len(other.pipeline.transforms) == 1
    check_mask_sizes(Broken())
    assert CheckMaskSize()(dict(img=np.zeros((2, 2)))) and CheckMaskSize()(dict(gt_seg_map=np.zeros((2, 2))))


def seen(hook: BadPicturesHook, samples: list[Any]) -> list[str]:
    lines: list[str] = []
    runner = SimpleNamespace(logger=SimpleNamespace(log=lambda level, line: lines.append(line)))
    for bad in samples:
        meta = {} if bad is None else dict(bad_pictures=[[path, 'why'] for path in bad])
        hook.after_train_iter(runner, 0, dict(data_samples=[BaseDataElement(metainfo=meta)]))
    return lines


def test_each_is_told_once_and_counted() -> None:
    hook = BadPicturesHook()
    lines = seen(hook, [None, ['a'], ['a', 'b'], None])
    assert lines == [f'{path} cannot be read, another sample takes its place: why' for path in 'ab']
    assert hook.state == dict(seen=4, replaced=2, bad=dict(a='why', b='why'))


def test_more_than_a_share_stops() -> None:
    """Three of sixty are 5 %: the third is one too many only beyond the share and the least number."""
    samples: list[Any] = [None] * 57 + [['a'], ['b'], ['c']]
    seen(BadPicturesHook(max_share=0.05, least=3), samples)
    seen(BadPicturesHook(max_share=0.04, least=4), samples)
    with pytest.raises(InputError) as error:
        seen(BadPicturesHook(max_share=0.04, least=3), samples)
    assert re.search(
        r'at most 0.04 of the samples .* got 3 bad ones in 60 samples: a \(why\), b \(why\), c \(why\); repair',
        str(error.value),
    )


def test_most_of_the_first_samples_stop_at_once() -> None:
    seen(BadPicturesHook(least=99), [[str(i)] if i % 2 else None for i in range(20)] + [[str(i)] for i in range(30)])
    with pytest.raises(InputError, match='at most half of the first samples; got 11 bad ones in 11 samples'):
        seen(BadPicturesHook(), [['same']] * 20)


def test_a_run_names_them_and_goes_on_counting(tmp_path: Path) -> None:
    def run(name: str, iterations: int, **settings: Any) -> dict[str, Any]:
        keep = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4))
        with forgotten():
            hooks = [dict(type='BadPicturesHook')]
            data = Broken(bad=[1, 6])
            tiny_run(tmp_path / name, iterations, data, custom_hooks=hooks, default_hooks=keep, **settings).train()
        return torch.load(tmp_path / name / f'iter_{iterations}.pth', weights_only=False)['guards']['BadPicturesHook']

    assert run('a', 4) == dict(seen=4, replaced=1, bad={'1.png': 'OSError: image file is truncated'})
    state = run('b', 8, load_from=str(tmp_path / 'a/iter_4.pth'), resume=True)
    assert (state['seen'], state['replaced'], set(state['bad'])) == (8, 2, {'1.png', '6.png'})
    text = ''.join(path.read_text() for path in (tmp_path / 'b').glob('*/*.log'))
    assert text.count('cannot be read') == 1 and '6.png cannot be read, another sample takes its place' in text


@pytest.mark.parametrize('given', [dict(max_share=1.5), dict(least=0)], ids=str)
def test_arguments_that_are_none(given: dict) -> None:
    with pytest.raises(InputError, match=f'BadPicturesHook.{next(iter(given))}: expected'):
        BadPicturesHook(**given)


def test_a_batch_carries_them_through_collation() -> None:
    batch = pseudo_collate([ResumableDataset(Broken(bad=[1]))[1]])
    assert batch['data_samples'][0].bad_pictures[0][0] == '1.png'
