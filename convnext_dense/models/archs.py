"""The published sizes of ConvNeXt: a row per name, from which every other fact about a size follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convnext_dense.errors import InputError
from convnext_dense.expect import brief, whole

EPS = 1e-6  # as in the official code
MIN_SIDE = 32  # pixels of an image's height and width: the stride of the last map


@dataclass(frozen=True)
class Arch:
    """Blocks and channels of the four stages, and the epsilon of every LayerNorm."""

    depths: tuple[int, int, int, int]
    dims: tuple[int, int, int, int]
    eps: float = EPS


def _arch(depths: tuple[int, int, int, int], width: int, eps: float = EPS) -> Arch:
    return Arch(depths, (width, 2 * width, 4 * width, 8 * width), eps)


# Section 3 of the paper, and atto to nano and huge of arXiv 2301.00808, table 8. V2 has all but small and xlarge.
ARCHS: dict[str, Arch] = {
    'atto': _arch((2, 2, 6, 2), 40),
    'femto': _arch((2, 2, 6, 2), 48),
    'pico': _arch((2, 2, 6, 2), 64),
    'nano': _arch((2, 2, 8, 2), 80),
    'tiny': _arch((3, 3, 9, 3), 96),
    'small': _arch((3, 3, 27, 3), 96),
    'base': _arch((3, 3, 27, 3), 128),
    'large': _arch((3, 3, 27, 3), 192),
    'xlarge': _arch((3, 3, 27, 3), 256),
    'huge': _arch((3, 3, 27, 3), 352),
    'xxlarge': _arch((3, 4, 30, 3), 384, eps=1e-5),  # OpenCLIP's
}


def resolve_arch(arch: str | Mapping[str, Sequence[int]]) -> Arch:
    """A name of `ARCHS`, or a dict of `depths` and `dims`, as an `Arch`."""
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise InputError(f'arch: expected one of {", ".join(ARCHS)}, or a dict of depths and dims; got {arch!r}')
        return ARCHS[arch]
    if not isinstance(arch, Mapping) or set(arch) != {'depths', 'dims'}:
        raise InputError(f'arch: expected a name, or a dict with the keys depths and dims; got {arch!r}')
    for key in ('depths', 'dims'):
        row = list(arch[key]) if isinstance(arch[key], (list, tuple)) else arch[key]
        if not isinstance(row, list) or len(row) != 4 or not all(whole(value, 1) for value in row):
            raise InputError(f'arch: expected four positive integers in {key}, got {brief(row)}')
    return Arch(tuple(arch['depths']), tuple(arch['dims']))  # type: ignore[arg-type]
