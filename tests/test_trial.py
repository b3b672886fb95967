"""One sample through the parts of a run: what each check takes, and what it names."""

import pytest
import torch
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from mmengine.dataset import DefaultSampler
from mmengine.model import BaseModule
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from convnext_dense import InputError
from convnext_dense.run import trial
from convnext_dense.run.trial import check_box_coders, check_init, first_batch, part


def test_whatever_is_raised_is_a_line_about_the_part() -> None:
    with (
        pytest.raises(InputError, match='^neck: cannot be built from this config: KeyError: x; check its entries$'),
        part('neck'),
    ):
        raise KeyError('x')
    with pytest.raises(InputError, match='^head: cannot be trained: RuntimeError: a b; '), part('head', 'cannot be trained'):
        raise RuntimeError('a\nb')
    for error in (InputError('as it is'), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, part('neck'):
            raise error
        assert caught.value is error


@pytest.mark.parametrize('size, expected', [(1, [0]), (2, [0, 1]), (9, [0, 1, 2])])
def test_the_first_batch_is_of_the_first_samples(size: int, expected: list[int]) -> None:
    """In order, whatever the sampler's; of as many as there are."""
    for options in (
        dict(batch_size=size, shuffle=True),
        dict(batch_sampler=BatchSampler(DefaultSampler([0, 1, 2]), size, False)),
    ):
        assert first_batch(DataLoader([0, 1, 2], collate_fn=list, **options)) == expected
    assert first_batch(DataLoader([0, 1, 2], collate_fn=list, batch_size=None)) == [0]


@pytest.mark.parametrize('shape, ok', [((64, 96), True), ((65, 97), True), ((70, 96), False)])
def test_strides_are_the_images_side_over_the_maps(shape: tuple[int, int], ok: bool) -> None:
    image, maps = torch.zeros(1, 3, *shape), [torch.zeros(1, 1, 16, 24), torch.zeros(1, 1, 8, 12)]
    for strides in ([4, 8], [(4, 4), (8, 8)]):
        if ok:
            trial._check_strides('strides', strides, maps, image)
            continue
        with pytest.raises(InputError, match='strides: expected 4.375 for map 0, of 16 pixels for 70; got 4'):
            trial._check_strides('strides', strides, maps, image)


@pytest.mark.parametrize('strides', [[4, 16], [(4, 4), (8, 16)], [(4, 4), (16, 8)], [4, 0], [4, -8]], ids=str)
def test_strides_of_another_map(strides: list) -> None:
    with pytest.raises(InputError, match='strides: expected 8 for map 1'):
        trial._check_strides(
            'strides', strides, [torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 8, 8)], torch.zeros(1, 3, 64, 64)
        )


@pytest.mark.parametrize(
    'means, stds, words',
    [
        ((0, 0, 0, 0), (0.1, 0.1, 0.2, 0.2), None),
        ((0.5, 0.5, 0, 0), (1, 1, 1, 1), None),
        ((0, 0, 0, 0), (0, 0, 0, 0), 'model.1.bbox_coder: expected four target_means and target_stds above 0'),
        ((0, 0, 0), (1, 1, 1), 'model.1.bbox_coder: '),
    ],
)
def test_boxes_come_back(means, stds, words: str | None) -> None:
    head = nn.Identity()
    head.bbox_coder = DeltaXYWHBBoxCoder(target_means=means, target_stds=stds)
    model = nn.Sequential(nn.Identity(), head)
    if words is None:
        check_box_coders(model)
        return
    with pytest.raises(InputError, match=words):
        check_box_coders(model)


class Layer(BaseModule):
    def __init__(self, init_cfg) -> None:
        super().__init__(init_cfg)
        self.linear = nn.Linear(2, 2)


def test_initialisers_are_tried_but_those_that_read_weights() -> None:
    check_init(nn.Sequential(Layer(dict(type='Constant', val=0.5, layer='Linear')), Layer(None)))
    check_init(Layer([dict(type='Pretrained', checkpoint='nowhere.pth')]))
    with pytest.raises(InputError, match=r'init_cfg of Layer: .*distribution'):
        check_init(nn.Sequential(Layer(dict(type='Kaiming', layer='Linear', distribution='nonsense'))))
