"""The block's tiled path against its plain layers: values, every gradient, memory, and the tools that wrap a model."""

from functools import partial

import pytest
import torch
import torch.distributed
from conftest import image, rounding
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn.parallel import DistributedDataParallel

from convnext_dense import ConvNeXt
from convnext_dense.kernels import onednn, pointwise
from convnext_dense.models.convnext import Block

WIDTH, SMALL = 12, dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
versions = pytest.mark.parametrize('use_grn', [False, True], ids=['V1', 'V2'])


def block(use_grn: bool, dtype: torch.dtype = torch.float32, width: int = WIDTH, scale: float = 1.0, **options) -> Block:
    torch.manual_seed(0)
    made = Block(width, layer_scale_init_value=scale, use_grn=use_grn, **options).to(dtype)
    for param in made.parameters():
        param.data = 0.4 * torch.randn_like(param)
    return made


def results(module: nn.Module, run, x: Tensor) -> dict[str, Tensor]:
    """Output in inference and in training, and every gradient."""
    module.zero_grad()
    with torch.no_grad():
        values = {'inference': run(x)}
    x = x.clone().requires_grad_()
    out = run(x)
    out.backward(image(*out.shape, dtype=out.dtype, seed=1))
    values |= {'training': out.detach(), 'input': x.grad}
    return values | {name: param.grad.clone() for name, param in module.named_parameters()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        difference = (ours[name].double() - value.double()).abs().max() / value.abs().max()
        assert difference <= tolerance, f'{name}: {difference:.1e}'


@versions
@pytest.mark.parametrize('recompute', [False, True], ids=['hidden', 'recompute'])
@pytest.mark.parametrize('keep', [None, (0.0, 1.25, 1.25)], ids=['all', 'drop_path'])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=['f64', 'f32'])
@pytest.mark.parametrize('side', [(27, 31), (1, 5)])
def test_equals_the_plain_layers(use_grn, recompute, keep, dtype, side, monkeypatch):
    monkeypatch.setitem(pointwise.TILE, 'cpu', 4 * WIDTH * 100)  # so that the map needs several, of unequal size
    ours = block(use_grn, dtype, recompute_hidden=recompute)
    x, keep = image(3, WIDTH, *side, dtype=dtype), None if keep is None else torch.tensor(keep, dtype=dtype)
    tolerance = rounding(WIDTH, 4 * WIDTH, 3 * side[0] * side[1], dtype=dtype)  # both products, a sum over all pixels
    assert_same(results(ours, partial(ours.tiled, keep=keep), x), results(ours, partial(ours.plain, keep=keep), x), tolerance)


@pytest.mark.parametrize('use_grn', [False, True], ids=['V1 without layer scale', 'V2'])
def test_equals_the_plain_layers_without_layer_scale(use_grn):
    ours, x = block(use_grn, torch.float64, scale=0.0), image(2, WIDTH, 9, 10, dtype=torch.float64)
    assert_same(results(ours, ours.tiled, x), results(ours, ours.plain, x), 1e-12)


@versions
def test_equals_the_plain_layers_without_onednn(use_grn, monkeypatch):
    ours, x = block(use_grn), image(2, WIDTH, 9, 10)
    with_it = results(ours, ours.tiled, x)
    monkeypatch.setattr(onednn, 'onednn_computes', lambda dtype: False)
    assert_same(results(ours, ours.tiled, x), with_it, rounding(WIDTH, 4 * WIDTH, 2 * 9 * 10))


@versions
@pytest.mark.parametrize('recompute', [False, True], ids=['hidden', 'recompute'])
def test_gradcheck(use_grn, recompute):
    ours = block(use_grn, torch.float64, width=3, recompute_hidden=recompute)
    x, keep = image(2, 3, 4, 3, dtype=torch.float64).requires_grad_(), torch.tensor([1.0, 0.5], dtype=torch.float64)
    names, params = zip(*ours.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(ours, dict(zip(names, values)), (x,))

    ours.forward = partial(ours.tiled, keep=keep)
    assert gradcheck(run, (x, *params), fast_mode=True)


@versions
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=['bf16', 'fp16'])
@pytest.mark.parametrize('autocast', [True, False], ids=['autocast', 'whole model'])
def test_sixteen_bits_stay_near_float32(use_grn, dtype, autocast):
    ours, x = block(use_grn), image(2, WIDTH, 20, 21)
    exact = results(ours, ours.plain, x)
    if not autocast:
        ours.to(dtype)
        x = x.to(dtype)
    with torch.autocast('cpu', dtype=dtype, enabled=autocast):
        rounded, plain = results(ours, ours.tiled, x), results(ours, ours.plain, x)
    for name, value in exact.items():
        assert rounded[name].dtype == plain[name].dtype
        error, usual = ((r[name].float() - value).norm() / value.norm() for r in (rounded, plain))
        assert error <= 1.5 * usual, f'{name}: {error:.4f}, the plain layers {usual:.4f}'
        assert error < 0.1


@versions
def test_values_that_overflow_sixteen_bit_normalisation(use_grn):
    # (x - mean)^2 of the official channels-first LayerNorm leaves float16 from differences of 256 on.
    model = ConvNeXt(SMALL, layer_scale_init_value=1.0, use_grn=use_grn).eval()
    x = 2000 * image(1, 3, 64, 64)
    stem = model.downsample_layers[0][0](x)
    assert ((stem - stem.mean(1, keepdim=True)) ** 2).max() > torch.finfo(torch.float16).max
    with torch.no_grad():
        exact = model(x)
        half = model.half()(x.half())
    for a, b in zip(half, exact):
        assert a.dtype == torch.float16 and (a.float() - b).norm() / b.norm() < 0.01


def saved_bytes(run, x: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once, the parameters not counted."""
    storages = {}

    def pack(t: Tensor) -> Tensor:
        if not isinstance(t, nn.Parameter) and not t.is_leaf:
            storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    x = x.clone().requires_grad_() * 1  # the block before
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = run(x)
    assert out.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize(('recompute', 'share'), [(False, 0.5), (True, 0.25)])
def test_activation_memory(recompute, share):
    ours, x = block(False, width=48, recompute_hidden=recompute), image(2, 48, 32, 32)
    assert saved_bytes(ours.tiled, x) <= share * saved_bytes(ours.plain, x)


@versions
@pytest.mark.parametrize('options', [dict(with_cp=True), dict(recompute_hidden=True), dict(fused=False)])
def test_options_of_the_backbone_change_no_number(use_grn, options):
    torch.manual_seed(0)
    model = ConvNeXt(SMALL, layer_scale_init_value=1.0, use_grn=use_grn)
    other = ConvNeXt(SMALL, layer_scale_init_value=1.0, use_grn=use_grn, **options)
    other.load_state_dict(model.state_dict())
    model, other, x = model.double(), other.double(), image(2, 3, 64, 99, dtype=torch.float64)
    runs = [results(m, lambda x, m=m: torch.cat([f.flatten() for f in m(x)])[None, None, None], x) for m in (model, other)]
    assert_same(*runs, 1e-11)


def test_drop_path_drops_and_scales_branches():
    ours, x = block(False, drop_path=0.5).train(), image(64, WIDTH, 4, 4)
    branch = ours.eval()(x) - x
    out = ours.train()(x) - x
    dropped = out.flatten(1).abs().amax(1) == 0
    assert 10 < dropped.sum() < 54
    torch.testing.assert_close(out[~dropped], 2 * branch[~dropped], rtol=1e-3, atol=1e-4)


def test_no_map_is_copied_between_the_layers():
    model = ConvNeXt('atto', layer_scale_init_value=1.0, channels_last=True).eval()
    x = image(1, 3, 128, 128)
    with torch.no_grad(), torch.profiler.profile(record_shapes=True) as profile:
        model(x)
    copies = [e.input_shapes for e in profile.events() if e.name in ('aten::copy_', 'aten::clone', 'aten::contiguous')]
    assert not [shapes for shapes in copies if shapes[0][:1] == [1] and shapes[1] in ([], shapes[0])]


@versions
def test_compile_and_export_cut_no_graph(use_grn):
    model, x = ConvNeXt(SMALL, layer_scale_init_value=1.0, use_grn=use_grn).eval(), image(1, 3, 64, 96)
    expected = model(x)
    for other in (torch.compile(model, backend='eager', fullgraph=True), torch.export.export(model, (x,)).module()):
        for a, b in zip(other(x), expected):
            torch.testing.assert_close(a, b, rtol=0, atol=b.abs().max().item() * rounding(4 * SMALL['dims'][-1]))


def test_distributed_data_parallel(tmp_path):
    store = f'file://{tmp_path}/store'
    torch.distributed.init_process_group('gloo', init_method=store, rank=0, world_size=1)
    try:
        model, x = ConvNeXt(SMALL, layer_scale_init_value=1.0), image(1, 3, 64, 64)
        sum(f.square().sum() for f in DistributedDataParallel(model)(x)).backward()
        grads = [param.grad.clone() for param in model.parameters()]
        model.zero_grad()
        sum(f.square().sum() for f in model(x)).backward()
        for grad, param in zip(grads, model.parameters()):
            torch.testing.assert_close(grad, param.grad)
    finally:
        torch.distributed.destroy_process_group()


@versions
def test_the_last_tile_of_an_image_ends_with_it(use_grn, monkeypatch):
    monkeypatch.setitem(pointwise.TILE, 'cpu', 4 * WIDTH * 100)
    ours, x = (
        block(use_grn, torch.float64),
        image(2, WIDTH, 29, 31, dtype=torch.float64),
    )
    # 899 pixels an image: eight tiles of 100, and one of 99.
    keep = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert_same(results(ours, partial(ours.tiled, keep=keep), x), results(ours, partial(ours.plain, keep=keep), x), 1e-10)


@pytest.mark.parametrize('recompute, hidden', [({}, 1), (dict(recompute_hidden=False), 1), (dict(recompute_hidden=True), 0)])
def test_the_hidden_map_is_kept_by_default(recompute, hidden):
    ours, kept = block(False), []
    x = image(1, WIDTH, 5, 7).permute(0, 2, 3, 1)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda t: t):
        pointwise.pointwise_mlp(x, x, ours.pointwise_parameters(), 1e-6, **recompute)
    assert kept.count((35, 4 * WIDTH)) == hidden
