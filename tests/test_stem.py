"""The stem's weights over other channels than three: timm's numbers, sums kept, three as they are."""

from pathlib import Path

import pytest
import torch
from timm.models import adapt_input_conv

from convnext_dense import ConvNeXt, InputError
from convnext_dense.weights.load import load_pretrained
from convnext_dense.weights.stem import spread_over

TINY = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
STEM = 'downsample_layers.0.0.weight'


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6, 12])
def test_it_is_what_timm_does(channels: int, dtype: torch.dtype) -> None:
    weight = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = spread_over(weight, channels)
    assert found.dtype == dtype
    torch.testing.assert_close(found, adapt_input_conv(channels, weight))
    if channels % 3 == 0 or channels == 1:  # of a picture with equal channels the map stays
        torch.testing.assert_close(found.float().sum(1), weight.float().sum(1), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ('channels', 'line'), [(1, 'stem: 3 -> 1 channel, summed'), (3, ''), (12, 'stem: 3 -> 12 channels, cycled')]
)
def test_pretrained_weights(channels: int, line: str, tmp_path: Path, logged: list[str]) -> None:
    given = ConvNeXt(TINY)
    torch.save(given.state_dict(), tmp_path / 'x.pth')
    backbone = ConvNeXt(TINY, in_channels=channels, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth')))
    backbone.init_weights()
    assert torch.equal(backbone.state_dict()[STEM], spread_over(given.state_dict()[STEM], channels))
    assert torch.equal(backbone.state_dict()['stages.0.0.dwconv.weight'], given.state_dict()['stages.0.0.dwconv.weight'])
    (report,) = (text for text in logged if text.startswith('backbone: loaded'))
    assert (line in report) if line else ('stem' not in report)


def test_three_are_bit_equal_and_other_stems_still_stop(tmp_path: Path) -> None:
    weight = torch.randn(8, 3, 4, 4)
    assert spread_over(weight, 3) is weight
    torch.save(ConvNeXt(TINY, in_channels=4).state_dict(), tmp_path / 'x.pth')
    with pytest.raises(InputError, match='1 of another shape: downsample_layers.0.0.weight'):
        load_pretrained(ConvNeXt(TINY, in_channels=12), tmp_path / 'x.pth')


@pytest.mark.parametrize('channels', [1, 4, 12])
def test_the_faster_paths_take_any_channels(channels: int) -> None:
    torch.manual_seed(0)
    fast, plain = (ConvNeXt(TINY, in_channels=channels, fused=fused) for fused in (True, False))
    plain.load_state_dict(fast.state_dict())
    x = torch.randn(2, channels, 64, 96)
    for one, other in zip(fast(x), plain(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
