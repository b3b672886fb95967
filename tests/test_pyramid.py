"""What the backbones of four stages share."""

import pytest
import torch
from torch import nn

from convnext_dense import ConvNeXt, InputError, RoadmapNet
from convnext_dense.models.pyramid import drop_rates, kept_branches, resolve_out_indices


def test_drop_rates() -> None:
    assert drop_rates(0.5, (2, 1, 2, 1)) == [pytest.approx(row) for row in ([0, 0.1], [0.2], [0.3, 0.4], [0.5])]
    assert drop_rates(0.0, (1, 1, 1, 1)) == [[0.0]] * 4


def test_kept_branches() -> None:
    module, x = nn.Identity(), torch.zeros(4000, 1, 1, 1)
    factors = kept_branches(module, x, 0.25)
    assert {round(value, 5) for value in factors.tolist()} == {0.0, 1.33333}
    assert float(factors.mean()) == pytest.approx(1, abs=0.05)
    assert kept_branches(module, x, 0.0) is None and kept_branches(module.eval(), x, 0.25) is None


@pytest.mark.parametrize(('given', 'found'), [((3, 0), (0, 3)), (-1, (3,)), ([0, -2], (0, 2)), (range(4), (0, 1, 2, 3))])
def test_out_indices(given, found: tuple[int, ...]) -> None:
    assert resolve_out_indices(given) == found


@pytest.mark.parametrize('given', [(), (0, 0), (0, -4), 4, (1.0,), ('0',), (True, 2)], ids=str)
def test_wrong_out_indices(given) -> None:
    with pytest.raises(InputError, match='out_indices: expected different stage numbers'):
        resolve_out_indices(given)


@pytest.mark.parametrize(
    'net', [ConvNeXt('atto', frozen_stages=2), RoadmapNet('gelu', frozen_stages=2)], ids=lambda n: type(n).__name__
)
def test_what_is_frozen_stays_in_eval_mode(net) -> None:
    assert net.train() is net
    parts = [*net.downsample_layers, *net.stages]
    wanted = [False, False, True, True] * 2
    assert [part.training for part in parts] == wanted
    trains = [all(p.requires_grad for p in part.parameters()) for part in parts if [*part.parameters()]]
    assert trains == [w for part, w in zip(parts, wanted) if [*part.parameters()]]
    assert net.stem.in_channels == 3 and net.depths == tuple(map(len, net.stages))
