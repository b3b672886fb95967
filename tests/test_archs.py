"""The sizes of the papers' tables, and what is no size."""

import pytest

from convnext_dense import ARCHS, ConvNeXt, InputError
from convnext_dense.models.archs import Arch, resolve_arch

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))


@pytest.mark.parametrize('row', [5, None, '1111', (1, 1, 1, True), (1, 1, 1.0, 1), (1, 1, 1, -1), (1, 1, 1, '1')], ids=str)
@pytest.mark.parametrize('key', ['depths', 'dims'])
def test_an_arch_of_wrong_types(key: str, row) -> None:
    with pytest.raises(InputError, match=f'four positive integers in {key}, got'):
        ConvNeXt({**SMALL, key: row})


def test_the_epsilon_of_open_clips_size() -> None:
    """OpenCLIP's own model says 1e-5; all the others 1e-6."""
    assert {name for name, arch in ARCHS.items() if arch.eps == 1e-5} == {'xxlarge'}
    assert {arch.eps for name, arch in ARCHS.items() if name != 'xxlarge'} == {1e-6}


def test_depths_and_widths_of_every_size() -> None:
    """Papers' tables: blocks, and channels of the first stage, which double from stage to stage."""
    depths = dict(atto='2 2 6 2', femto='2 2 6 2', pico='2 2 6 2', nano='2 2 8 2', tiny='3 3 9 3', xxlarge='3 4 30 3')
    widths = dict(zip(ARCHS, (40, 48, 64, 80, 96, 96, 128, 192, 256, 352, 384), strict=True))
    for name, arch in ARCHS.items():
        assert arch.depths == tuple(map(int, depths.get(name, '3 3 27 3').split())), name
        assert arch.dims == tuple(widths[name] * 2**i for i in range(4)), name


def test_names_and_rows() -> None:
    assert resolve_arch('tiny') is ARCHS['tiny']
    assert resolve_arch(dict(depths=[1, 2, 3, 4], dims=(8, 8, 16, 16))) == Arch((1, 2, 3, 4), (8, 8, 16, 16), eps=1e-6)


@pytest.mark.parametrize(
    'arch, message',
    [
        ('tinny', r"expected one of atto, .*; got 'tinny'"),
        (5, 'expected a name, or a dict with the keys depths and dims; got 5'),
        (dict(depths=(1, 1, 1, 1)), 'the keys depths and dims'),
        ({**SMALL, 'eps': 1}, 'the keys depths and dims'),
        ({**SMALL, 'dims': (8, 8, 8)}, r'four positive integers in dims, got \[8, 8, 8\]'),
        ({**SMALL, 'depths': (1, 1, 1, 0)}, r'four positive integers in depths, got \[1, 1, 1, 0\]'),
    ],
)
def test_what_is_no_arch(arch, message: str) -> None:
    with pytest.raises(InputError, match=f'arch: .*{message}'):
        resolve_arch(arch)
