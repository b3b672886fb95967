"""The first convolution of published weights, made for three colours, spread over the channels of other pictures.

As timm does it (`adapt_input_conv`): one channel gets the sum of the colours, others get red, green, blue, red, and so on,
times 3 / N, so that a picture whose channels are all alike gives the same map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from convnext_dense.weights.match import BackboneMatch, other_shapes

STEM = 'downsample_layers.0.0.weight'
COLOURS = 3


def spread_stem(match: BackboneMatch, own: Mapping[str, Tensor]) -> BackboneMatch:
    """`match` with a stem of three colours spread over the channels of the backbone's own, where these are others."""
    given, wanted = match.tensors.get(STEM), own[STEM].shape
    if given is None or given.ndim != 4 or given.shape[1] != COLOURS or wanted[1] == COLOURS:
        return match
    tensors = match.tensors | {STEM: spread_over(given, wanted[1])}
    how = 'channel, summed' if wanted[1] == 1 else 'channels, cycled'
    return replace(match, tensors=tensors, shapes=other_shapes(own, tensors), spread=f'stem: {COLOURS} -> {wanted[1]} {how}')


def spread_over(weight: Tensor, channels: int) -> Tensor:
    """(C, 3, h, w) as (C, channels, h, w), of the same type."""
    if channels == COLOURS:
        return weight
    exact = weight.float()
    if channels == 1:
        return exact.sum(1, keepdim=True).to(weight.dtype)
    cycled = exact.repeat(1, -(-channels // COLOURS), 1, 1)[:, :channels]
    return (cycled * (COLOURS / channels)).to(weight.dtype)
