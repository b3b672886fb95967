"""What an `init_cfg` asks for: mmengine's initialisers, and one published checkpoint."""

import pytest
from mmengine.model import PretrainedInit

from convnext_dense import ConvNeXt, InputError
from convnext_dense.models.init_cfg import split_init_cfg

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
CONSTANT = dict(type='Constant', val=0.5, layer='Linear')


def test_a_list_of_initialisers_is_left_to_mmengine() -> None:
    kinds = [dict(type='Constant', val=0.5, layer='Conv2d'), dict(type='Constant', val=0.25, layer='Linear')]
    assert split_init_cfg(kinds) == (kinds, None) and split_init_cfg([]) == split_init_cfg(None) == ([], None)
    model = ConvNeXt(SMALL, init_cfg=kinds)
    model.init_weights()
    assert model.stages[0][0].pwconv1.weight.eq(0.25).all() and model.downsample_layers[0][0].weight.eq(0.5).all()


def test_the_checkpoint_is_taken_out_of_the_list() -> None:
    pretrained = dict(type='Pretrained', checkpoint='a.pth', prefix='backbone.')
    for given in ([CONSTANT, pretrained], [pretrained, CONSTANT], (CONSTANT, dict(pretrained, type=PretrainedInit))):
        assert split_init_cfg(given) == ([CONSTANT], dict(checkpoint='a.pth', prefix='backbone.'))
    assert split_init_cfg(dict(type='Pretrained')) == ([], {})


@pytest.mark.parametrize(
    'given, message',
    [
        (5, 'expected None, a dict with a type, or a list of such; got 5'),
        (dict(checkpoint='a.pth'), 'expected None, a dict with a type'),
        ([CONSTANT, None], 'expected None, a dict with a type'),
        (dict(type='Constantt'), "expected a known initialiser, got 'Constantt'; did you mean 'Constant'"),
        ([dict(type='Pretrained'), dict(type=PretrainedInit)], 'expected one .*, got 2; leave out the others'),
    ],
)
def test_what_is_no_init_cfg(given, message: str) -> None:
    with pytest.raises(InputError, match=f'init_cfg: {message}'):
        split_init_cfg(given)
