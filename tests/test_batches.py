"""Paths, sizes and data samples of batches of every form."""

from typing import Any

import pytest
import torch
from mmengine.structures import BaseDataElement

from convnext_dense.training.batches import named_pictures, pictures_of, samples_of, shapes_of


def sample(path: str | None) -> BaseDataElement:
    return BaseDataElement(metainfo={} if path is None else dict(img_path=path))


A, B = torch.zeros(3, 4, 5), torch.zeros(3, 6, 7)


@pytest.mark.parametrize(
    ('batch', 'paths', 'shapes'),
    [
        (dict(inputs=[A, B], data_samples=[sample('a'), sample('b')]), ['a', 'b'], [(3, 4, 5), (3, 6, 7)]),
        (dict(inputs=torch.stack([A, A]), data_samples=[sample('a'), sample(None)]), ['a'], [(3, 4, 5)] * 2),
        (dict(inputs=[[A], [B]], data_samples=[[sample('a')], [sample('b')]]), ['a', 'b'], [(3, 4, 5), (3, 6, 7)]),
        (
            dict(inputs=dict(x=[A], y=[B]), data_samples=dict(x=[sample('a')], y=[sample('b')])),
            ['a', 'b'],
            [(3, 4, 5), (3, 6, 7)],
        ),
        (dict(img=A, img_path=['a', 'b']), ['a', 'b'], [(3, 4, 5)]),
        ([dict(img=A, img_path='a')], ['a'], [(3, 4, 5)]),
        ((torch.zeros(2, 3), torch.zeros(2)), [], []),
        (None, [], []),
        ('text', [], []),
    ],
)
def test_every_form(batch: Any, paths: list[str], shapes: list[tuple[int, ...]]) -> None:
    assert pictures_of(batch) == paths and shapes_of(batch) == shapes


def test_samples_and_names() -> None:
    batch = dict(data_samples=[sample(str(i)) for i in range(6)])
    assert len(samples_of(batch)) == 6 and samples_of([A]) == []
    assert named_pictures(batch) == '0, 1, 2, 3 and 2 more' and named_pictures([A]) == 'unknown'
