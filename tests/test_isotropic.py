"""ConvNeXt without stages, and the pyramid that is made of its map."""

import pytest
import torch
from conftest import image
from mmengine.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from convnext_dense import InputError, IsotropicConvNeXt, SimplePyramid
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta


@pytest.mark.parametrize(('arch', 'published'), [('small', (22, 4.3)), ('base', (87, 16.9)), ('large', (306, 59.7))])
def test_table_2_of_the_paper(arch: str, published: tuple[int, float]) -> None:
    with torch.device('meta'):
        net = IsotropicConvNeXt(arch, fused=False).eval()
        with FlopCounterMode(display=False) as counter:
            (x,) = net(torch.empty(1, 3, 224, 224))
    width = net.out_channels[0]
    assert x.shape == (1, width, 14, 14) and net.out_strides == (16,)
    params = sum(p.numel() for p in net.parameters()) + 1001 * width
    macs = counter.get_total_flops() / 2 + 1000 * width
    assert round(params / 1e6) == published[0] and macs / 1e9 == pytest.approx(published[1], abs=0.06)


@pytest.mark.parametrize('size', [(64, 96), (67, 45)])
def test_the_pyramid(size: tuple[int, int]) -> None:
    net, neck = IsotropicConvNeXt().eval(), SimplePyramid(384, 64, num_outs=5).eval()
    x = image(2, 3, *size).requires_grad_()
    maps = neck(net(x))
    h, w = (side // 16 for side in size)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 4 * h, 4 * w),
        (64, 2 * h, 2 * w),
        (64, h, w),
        (64, h // 2, w // 2),
        (64, (h // 2 + 1) // 2, (w // 2 + 1) // 2),
    ]
    sum(m.square().mean() for m in maps).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in neck.parameters())
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_both_paths_are_equal() -> None:
    x, nets = image(1, 3, 64, 80), [IsotropicConvNeXt(fused=fused).eval() for fused in (True, False)]
    nets[1].load_state_dict(nets[0].state_dict())
    with torch.no_grad():
        (a,), (b,) = (net(x) for net in nets)
    torch.testing.assert_close(a, b, rtol=0, atol=2e-5 * float(b.abs().max()))


def test_frozen_blocks() -> None:
    net = IsotropicConvNeXt(frozen_blocks=2, drop_path_rate=0.2).train()
    frozen = {name.rsplit('.', 2)[0] for name, p in net.named_parameters() if not p.requires_grad}
    assert {name.partition('.')[0] for name in frozen} == {'stem', 'blocks'}
    assert [block.training for block in net.blocks] == [False] * 2 + [True] * 16
    assert net.blocks[-1].drop_path == pytest.approx(0.2) and net.train() is net


def test_in_a_segmentor_and_a_detector() -> None:
    options = {'model.backbone.type': 'IsotropicConvNeXt'}
    cfg = load_config('upernet_convnext_t_ade20k')
    cfg.model.backbone = dict(type='IsotropicConvNeXt')
    cfg.model.neck = dict(type='SimplePyramid', in_channels=384)
    cfg.model.decode_head.in_channels, cfg.model.auxiliary_head.in_channels = [256] * 4, 256
    model = build_on_meta(cfg)
    assert isinstance(model.neck, SimplePyramid), options
    cfg.model.auxiliary_head.in_channels = 384
    with pytest.raises(InputError, match='auxiliary_head.in_channels: expected 256, the channels of the neck; got 384'):
        build_on_meta(cfg)
    cfg.model.neck.in_channels = 96
    with pytest.raises(InputError, match=r'neck.in_channels: expected \[384\], the channels of the backbone; got \[96\]'):
        build_on_meta(cfg)
    cfg = load_config('mask_rcnn_convnext_t_coco')
    cfg.model.backbone = dict(type='IsotropicConvNeXt')
    cfg.model.neck = dict(type='SimplePyramid', in_channels=[384], num_outs=5)
    detector = build_on_meta(cfg).to_empty(device='cpu').eval()
    with torch.no_grad():
        assert len(detector.extract_feat(torch.zeros(1, 3, 64, 64))) == 5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='smal'), r"arch: expected one of small, base, large; got 'smal'; did you mean 'small'\?"),
        (dict(frozen_blocks=19), r'frozen_blocks: expected -1 \(none\), 0 \(stem\) or 1 to 18, got 19'),
        (dict(drop_path_rate=-1), 'drop_path_rate'),
        (dict(layer_scale_init_value='x'), 'layer_scale_init_value'),
    ],
)
def test_wrong_arguments(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MODELS.build(dict(type='IsotropicConvNeXt', **options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=[96, 192]), r'in_channels: expected the channels of one map, from 4 up, got \[96, 192\]'),
        (dict(in_channels=384, num_outs=3), 'num_outs: expected 4, or 5'),
        (dict(in_channels=384, out_channels=0), 'out_channels: expected a whole number from 1 up, got 0'),
    ],
)
def test_wrong_arguments_of_the_pyramid(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SimplePyramid(**options)


def test_a_pyramid_of_several_maps() -> None:
    with pytest.raises(InputError, match='expected one map, got 2'):
        SimplePyramid(8)([torch.zeros(1, 8, 4, 4)] * 2)
    with pytest.raises(InputError, match='expected a map of 8 channels, got 16'):
        SimplePyramid(8)([torch.zeros(1, 16, 4, 4)])
