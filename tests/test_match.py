"""Weights that are not whole or no plain numbers: loading, converting and inspecting name the tensor, each in one line."""

from collections.abc import Callable

import pytest
import torch
from test_layouts import classification
from torch import Tensor

from convnext_dense import ConvNeXt, InputError
from convnext_dense.weights.convert import convert, inspect
from convnext_dense.weights.layouts import recognise
from convnext_dense.weights.load import match_or_stop
from convnext_dense.weights.match import check_pairs, check_values, match_backbone, match_itself
from convnext_dense.weights.open import state_dict_of

TINY = dict(depths=(1, 2, 1, 1), dims=(8, 16, 24, 32))  # of `classification`
G, P, S = 'stages.1.1.gamma', 'stages.1.0.pwconv1.weight', 'downsample_layers.0.0.weight'
State = dict[str, Tensor]


def put(**values) -> Callable[[State], State]:
    """Tensors of a state dict replaced or added; None removes one."""

    def spoil(state: State) -> State:
        changed = {name.replace('__', '.'): value for name, value in values.items()}
        state = {**state, **{name: value(state.get(name)) for name, value in changed.items() if value is not None}}
        return {name: value for name, value in state.items() if changed.get(name, 0) is not None}

    return spoil


def one(name: str, change) -> Callable[[State], State]:
    return put(**{name: change})


def only(*begin: str) -> Callable[[State], State]:
    return lambda state: {name: value for name, value in state.items() if name.startswith(begin)}


def block(source: str, target: str) -> Callable[[State], State]:
    return lambda state: state | {name.replace(source, target): v for name, v in state.items() if name.startswith(source)}


# What is wrong, and what is said of it: by conversion, and by loading where that says it in other words.
NOT_WHOLE = {
    'four missing': (
        put(**dict.fromkeys(('stages.0.0.gamma', G, P, 'downsample_layers.3.1.bias'))),
        f'4 missing: downsample_layers.3.1.bias, stages.0.0.gamma, {P}, {G}',
    ),
    'the stem alone': (only('downsample_layers.0.'), r'blocks in each of the four stages, got depths \(0, 0, 0, 0\)|missing'),
    'a stage without blocks': (
        lambda s: {name: value for name, value in s.items() if not name.startswith('stages.2')},
        r'blocks in each of the four stages, got depths \(1, 2, 0, 1\)|missing: stages.2.0',
    ),
    'no biases': (
        lambda s: {name: value for name, value in s.items() if not name.endswith('.bias')},
        r'got depths \(1, 2, 1, 1\), dims \(0, 0, 0, 0\)|missing',
    ),
    'a gap': (block('stages.1.1.', 'stages.1.3.'), '9 unexpected: stages.1.3.dwconv.bias'),
    'a block of one tensor': (one('stages.1.2.gamma', lambda _: torch.ones(16)), '1 unexpected: stages.1.2.gamma'),
    'a fifth stage': (block('stages.3.', 'stages.4.'), '9 unexpected: stages.4.0'),
    'a second backbone': (
        lambda s: s | {f'module.{name}': value for name, value in s.items()},
        'unexpected: module.downsample_layers',
    ),
    'a name of something else': (one('foo.bar', lambda _: torch.ones(1)), '1 unexpected: foo.bar'),
    'V2 among V1': (one('stages.1.1.grn.gamma', lambda _: torch.ones(1, 1, 1, 64)), 'unexpected: stages.1.1.grn.gamma'),
    '3x3 depthwise': (one('stages.0.0.dwconv.weight', lambda v: v[..., :3, :3]), r'is \(8, 1, 3, 3\), expected \(8, 1, 7, 7\)'),
    '3x3 pointwise': (one(P, lambda v: torch.ones(64, 16, 3, 3)), rf'{P} is \(64, 16, 3, 3\), expected \(64, 16\)'),
    '2x2 of as many': (one(P, lambda v: v.reshape(64, 4, 2, 2)), rf'{P} is \(64, 4, 2, 2\)'),
    'a column of 1x1': (one(P, lambda v: v.reshape(64, 4, 4, 1)), rf'{P} is \(64, 4, 4, 1\)'),
    'a bias without an axis': (
        one('stages.0.0.dwconv.bias', lambda v: v[0]),
        r'1 of another shape: stages.0.0.dwconv.bias is \(\), expected \(8,\)',
    ),
    'a stem without an axis': (one(S, lambda v: v[0, 0, 0, 0]), rf'{S} is \(\), expected \(8, 3, 4, 4\)'),
    'a stem of three axes': (one(S, lambda v: v[:, 0]), rf'{S} is \(8, 4, 4\), expected \(8, 3, 4, 4\)'),
    'a stem of no channel': (one(S, lambda v: v[:, :0]), rf'{S} is \(8, 0, 4, 4\), expected \(8, 3, 4, 4\)'),
    'gamma of two axes': (one(G, lambda v: v.reshape(4, 4)), rf'1 of another shape: {G} is \(4, 4\), expected \(16,\)'),
    'gamma of none': (one(G, lambda v: v[:0]), rf'{G} is \(0,\), expected \(16,\)'),
    'widths that do not meet': (
        one('downsample_layers.2.1.weight', lambda v: torch.ones(24, 17, 2, 2)),
        r'downsample_layers.2.1.weight is \(24, 17, 2, 2\), expected \(24, 16, 2, 2\)',
    ),
    'half an output norm': (one('norm1.weight', lambda _: torch.ones(16)), '1 missing: norm1.bias'),
    'the other half': (one('norm1.bias', lambda _: torch.ones(16)), '1 missing: norm1.weight'),
    'an output norm of another width': (
        put(**{f'norm1.{p}': lambda _: torch.ones(15) for p in ('weight', 'bias')}),
        r'2 of another shape: norm1.weight is \(15,\), expected \(16,\)',
    ),
}
NO_NUMBERS = {
    'NaN': (one(G, lambda v: v.index_fill(0, torch.tensor([3]), torch.nan)), rf'NaN or infinity in {G} \(1 of 16\)'),
    'beyond float32': (one(G, lambda v: v.double() * 1e300), rf'NaN or infinity in {G} \(16 of 16\)'),
    'integer': (one(G, lambda v: v.int()), f'{G}: expected one of float16, bfloat16, float32, float64, got int32'),
    'boolean': (one(G, lambda v: v > 0), 'got bool'),
    'complex': (one(G, lambda v: v + 1j), 'got complex64'),
    'float8': (one(G, lambda v: v.to(torch.float8_e4m3fn)), 'got float8_e4m3fn'),
}
NO_TENSORS = {
    'sparse': (
        one(P, lambda v: v.to_sparse()),
        f'{P}: expected a dense tensor with its values, got one of layout torch.sparse_coo',
    ),
    'compressed': (one(P, lambda v: v.to_sparse_csr()), 'got one of layout torch.sparse_csr'),
    'meta': (one(P, lambda v: v.to('meta')), 'got one on the meta device'),
    'quantised': (one(P, lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)), r'got a quantised one \(torch.qint8\)'),
    'nested': (one(G, lambda v: torch.nested.nested_tensor([v, v[1:]])), 'got a nested one'),
    'expanded': (one(G, lambda v: torch.ones(1).expand(16)), r'got one of shape \(16,\) with 1 values'),
    'huge': (one('stages.0.0.norm.bias', lambda v: v[:3].expand(2**30, 3)), r'shape \(1073741824, 3\) with 8 values'),
    'list': (one(G, lambda v: v.tolist()), f'{G}: expected a tensor, got list'),
    'array': (one(G, lambda v: v.numpy()), f'{G}: expected a tensor, got ndarray'),
    'None': (one(G, lambda v: [None][0]), f'{G}: expected a tensor, got NoneType'),
    'named by a number': (lambda s: s | {1: torch.ones(1)}, 'expected names of tensors that are strings, got 1'),
}
ALL = NOT_WHOLE | NO_NUMBERS | NO_TENSORS


@pytest.mark.filterwarnings('ignore::UserWarning', 'ignore::DeprecationWarning')
@pytest.mark.parametrize('spoil, message', ALL.values(), ids=ALL)
def test_one_line_in_every_direction(tmp_path, spoil, message: str) -> None:
    state = spoil(classification(False))
    path = str(tmp_path / 'a.pth')
    torch.save({'model': state}, path)
    backbone = ConvNeXt(TINY)
    for use in (lambda: convert(state, 'timm'), lambda: match_or_stop(backbone, path)):
        with pytest.raises(InputError, match=message) as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1
    try:
        assert dict(inspect(path))['whole'].startswith('no: ')
    except InputError as error:
        assert path in str(error)


HEADS = {
    'no bias': (put(head__bias=None), '1 missing: head.bias'),
    'no weight': (put(head__weight=None), '1 missing: head.weight'),
    'no bias of the norm': (put(norm__bias=None), '1 missing: norm.bias'),
    'of another width': (put(head__weight=lambda v: v[:, 1:]), r'head.weight is \(5, 31\), expected \(5, 32\)'),
    'of two numbers of classes': (put(head__bias=lambda v: v[1:]), r'head.weight is \(5, 32\), expected \(4, 32\)'),
    'without an axis': (put(head__bias=lambda v: v[0]), r'head.bias is \(\), expected \(5,\)'),
    'infinite': (put(head__bias=lambda v: v / 0), r'infinity in head.bias \(5 of 5\)'),
}


@pytest.mark.parametrize('spoil, message', HEADS.values(), ids=HEADS)
def test_a_head_is_converted_whole_and_left_out_by_loading(spoil, message: str) -> None:
    state = spoil(classification(False))
    with pytest.raises(InputError, match=message):
        convert(state, 'timm')
    assert match_backbone(state, ConvNeXt(TINY)).fits


@pytest.mark.parametrize('grn', [False, True], ids=['V1', 'V2'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_whole_files_are_whole(grn: bool, channels: int) -> None:
    """With and without output norms and head, of any number of input channels."""
    state = ConvNeXt(TINY, use_grn=grn, in_channels=channels).state_dict()
    match = match_itself(state)
    assert match.fits and set(match.tensors) == set(state) and match.left_out == []
    assert match_itself(only('downsample_layers', 'stages')(state)).fits
    assert match_itself({name: v for name, v in state.items() if not name.startswith(('norm0', 'norm2'))}).fits
    assert (match.found.depths, match.found.dims, match.found.grn) == (TINY['depths'], TINY['dims'], grn)


def test_weights_of_another_kind_are_named_as_such() -> None:
    with pytest.raises(InputError, match=r'one of the layouts official, .*; got tensors named \(none\)'):
        match_itself({})
    with pytest.raises(InputError, match='got tensors named a, b, c, d and 1 more'):
        match_itself(dict.fromkeys('abcde', torch.ones(1)))


def test_a_width_is_what_most_of_its_biases_say() -> None:
    state = classification(False)
    state['stages.2.0.dwconv.bias'] = torch.ones(5)
    assert recognise(state).dims == (8, 16, 24, 32)


def test_a_tie_goes_to_the_official_layout() -> None:
    """Without norms and head, official and DINOv3's own files have the same names."""
    bare = only('downsample_layers', 'stages')(classification(False))
    assert recognise(bare).layout.name == 'official'


def test_a_head_in_the_text_of_names_on_one_line() -> None:
    state = classification(False) | {'a\nb': torch.ones(1), 'c' * 1000: torch.ones(1)}
    with pytest.raises(InputError, match=r"2 unexpected: 'a\\nb', 'c{300}';") as caught:
        convert(state, 'timm')
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize('content', [None, 5, 'text', [torch.ones(1)]])
def test_a_state_dict_is_a_dict(content) -> None:
    with pytest.raises(InputError, match='expected a dict of tensors, got'):
        state_dict_of(content)


@pytest.mark.parametrize(
    'name, value, message',
    [
        ('a.running_var', torch.tensor([1.0, -1e-3]), 'a.running_var: expected variances of 0 or more, got -0.001'),
        ('a.num_batches_tracked', torch.tensor(1.0), 'expected one of int8, int16, int32, int64, uint8, got float32'),
        ('a.num_batches_tracked', torch.tensor(True), 'got bool'),
        ('a.running_mean', torch.tensor([torch.nan]), 'NaN or infinity in a.running_mean'),
        ('a.weight', torch.ones(2).half() / 0, 'infinity in a.weight'),
    ],
)
def test_values_that_cannot_be(name: str, value: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_values({name: value})


def test_values_that_can_be() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        check_values({'a.weight': -torch.ones(2, dtype=dtype), 'a.running_var': torch.zeros(2, dtype=dtype)})
    for dtype in (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8):
        check_values({'a.num_batches_tracked': torch.ones((), dtype=dtype)})
    index = {'a.index': torch.arange(2)}
    check_values(index, own=index)  # a model may have integers of its own
    with pytest.raises(InputError, match='a.index: expected one of int64, got float32'):
        check_values({'a.index': torch.ones(2)}, own=index)
    with pytest.raises(InputError, match='a.index: expected one of float16'):
        check_values(index)


def test_what_goes_with_a_weight() -> None:
    fits = {'a.weight': torch.ones(3, 2, 1, 1), 'a.bias': torch.ones(3), 'deconv.weight': torch.ones(4, 5, 2, 2)}
    fits |= {
        'deconv.bias': torch.ones(5),
        'bn.weight': torch.ones(3),
        'bn.running_mean': torch.ones(3),
        'c.bias': torch.ones(()),
    }
    check_pairs(fits)
    with pytest.raises(InputError, match='up.bias: expected one number per channel'):
        check_pairs({'up.weight': torch.zeros(4, 3, 5, 5), 'up.bias': torch.zeros(5)})  # as many as its kernel is wide
    for name, value in (
        ('a.bias', torch.ones(4)),
        ('a.bias', torch.ones(())),
        ('a.bias', torch.ones(3, 1)),
        ('bn.running_mean', torch.ones(2)),
        ('bn.running_var', torch.ones(2)),
    ):
        with pytest.raises(InputError, match=f'{name}: expected one number per channel of its weight'):
            check_pairs({**fits, name: value})


def test_half_a_norm_that_the_model_does_not_have_is_left_out() -> None:
    state = classification(False) | {'norm0.weight': torch.ones(8)}
    match = match_backbone(state, ConvNeXt(TINY, out_indices=(3,)))
    assert match.fits and 'norm0.weight' in match.left_out


def test_the_arch_is_named_where_it_is_another(tmp_path) -> None:
    state = {name: v for name, v in ConvNeXt('atto').state_dict().items() if name != 'stages.0.0.gamma'}
    torch.save(state, tmp_path / 'a.pth')
    for arch, fits in (('atto', False), ('femto', True)):
        with pytest.raises(InputError, match='1 missing: stages.0.0.gamma') as caught:
            match_or_stop(ConvNeXt(arch), str(tmp_path / 'a.pth'))
        assert ("the file fits arch='atto'" in str(caught.value)) is fits
