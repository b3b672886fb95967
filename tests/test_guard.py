"""Whatever is hung on a layer, wrapped around it or put in its place counts by default as it does with the plain layers."""

import copy

import pytest
import torch
from conftest import image
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap
from torch.nn.utils import parametrize, prune

from convnext_dense import ConvNeXt, InputError
from convnext_dense.kernels import guard
from convnext_dense.kernels.guard import chosen, is_plain
from convnext_dense.models.convnext import GRN, Block

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
LAYERS = ['dwconv', 'norm', 'pwconv1', 'act', 'grn', 'pwconv2']


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


class Scaled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x)


def of_class(layer: nn.Linear, kind: type[nn.Linear]) -> nn.Linear:
    made = kind(layer.in_features, layer.out_features, dtype=layer.weight.dtype)
    made.load_state_dict(layer.state_dict())
    return made


def dilated(block: Block) -> None:
    block.dwconv.dilation, block.dwconv.padding = (2, 2), (6, 6)


def patched(block: Block) -> None:
    whole = block.pwconv2.forward
    block.pwconv2.forward = lambda x: whole(x) + 1


CHANGES = {
    'forward hook': lambda b: b.pwconv1.register_forward_hook(lambda module, args, out: 2 * out),
    'forward hook of the activation': lambda b: b.act.register_forward_hook(lambda module, args, out: 2 * out),
    'forward pre-hook': lambda b: b.norm.register_forward_pre_hook(lambda module, args: (2 * args[0],)),
    'backward hook': lambda b: b.pwconv2.register_full_backward_hook(lambda module, grad_in, grad_out: (2 * grad_in[0],)),
    'backward pre-hook': lambda b: b.dwconv.register_full_backward_pre_hook(lambda module, grad: (2 * grad[0],)),
    'parametrisation': lambda b: parametrize.register_parametrization(b.pwconv2, 'weight', Doubled()),
    'weight norm': lambda b: nn.utils.parametrizations.weight_norm(b.pwconv1),
    'pruning': lambda b: prune.l1_unstructured(b.pwconv1, 'weight', 0.5),
    'pruning of the convolution': lambda b: prune.random_unstructured(b.dwconv, 'weight', 0.5),
    'another class': lambda b: setattr(b, 'pwconv2', of_class(b.pwconv2, Scaled)),
    'another activation': lambda b: setattr(b, 'act', nn.ReLU()),
    'approximate GELU': lambda b: setattr(b, 'act', nn.GELU('tanh')),
    'no normalisation': lambda b: setattr(b, 'norm', nn.Identity()),
    'dropout': lambda b: setattr(b, 'grn', nn.Dropout(0.0)),
    'no bias': lambda b: setattr(b.pwconv1, 'bias', None),
    'dilation': dilated,
    'forward of the instance': patched,
}


def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Maps, and the gradients of the image and of every parameter."""
    x = x.clone().requires_grad_()
    maps = model(x)
    wanted = [x, *(p for p in model.parameters() if p.requires_grad)]
    return [*maps, *torch.autograd.grad(sum(m.square().sum() for m in maps), wanted)]


@pytest.mark.parametrize('use_grn', [False, True], ids=['V1', 'V2'])
@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_a_changed_layer_counts(change, use_grn):
    torch.manual_seed(0)
    model = ConvNeXt(SMALL, layer_scale_init_value=1.0, use_grn=use_grn).double()
    for param in model.parameters():
        param.data = 0.3 * torch.randn_like(param)
    plain = copy.deepcopy(model)
    for block in plain.modules():
        if isinstance(block, Block):
            block.fused = False
    x = image(2, 3, 64, 70, dtype=torch.float64)
    before = outputs(model, x)
    for one in (model, plain):
        torch.manual_seed(1)  # for what is pruned at random
        change(one.stages[2][1])
        one.eval()
    got = outputs(model, x)
    torch.testing.assert_close(got, outputs(plain, x), rtol=1e-9, atol=1e-9)
    same = len(got) == len(before) and all(torch.equal(a, b) for a, b in zip(got, before))
    assert not same or ('grn' in vars(model.stages[2][1])['_modules'] and isinstance(model.stages[2][1].grn, nn.Dropout))


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('name', LAYERS)
def test_hooks_of_every_layer_are_called(name, with_cp):
    model, calls = ConvNeXt(SMALL, with_cp=with_cp), []
    getattr(model.stages[1][0], name).register_forward_hook(lambda *_: calls.append(name))
    model(image(1, 3, 32, 32))
    assert calls == [name]


@pytest.mark.parametrize('with_cp', [False, True])
def test_hooks_of_stages_and_blocks_are_called(with_cp):
    model, calls = ConvNeXt(SMALL, with_cp=with_cp), []
    for i, stage in enumerate(model.stages):
        stage.register_forward_hook(lambda module, args, out, i=i: calls.append((i, tuple(out.shape))))
        stage[0].register_forward_hook(lambda module, args, out, i=i: calls.append(i))
    model(image(1, 3, 64, 64))
    shapes = [(1, dim, 16 // 2**i, 16 // 2**i) for i, dim in enumerate(SMALL['dims'])]
    assert calls == [call for i in range(4) for call in (i, (i, shapes[i]))]


def test_global_hooks_are_called():
    model, calls = ConvNeXt(SMALL), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, out: calls.append(type(module)))
    try:
        model(image(1, 3, 32, 32))
    finally:
        handle.remove()
    assert calls.count(nn.Linear) == 2 * sum(SMALL['depths'])


def test_transforms_of_torch_func():
    model = ConvNeXt(SMALL, layer_scale_init_value=1.0).double().eval()
    block, x = model.stages[0][0], image(3, 8, 9, 10, dtype=torch.float64)
    expected = block(x)
    torch.testing.assert_close(vmap(block)(x[:, None])[:, 0], expected)
    params = dict(block.named_parameters())
    _, tangent = jvp(lambda x: functional_call(block, params, x), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, (block(x + 1e-6) - block(x - 1e-6)) / 2e-6, rtol=1e-5, atol=1e-6)


def test_the_usual_layers_take_the_tiles(monkeypatch):
    calls = []
    monkeypatch.setattr(Block, 'tiled', lambda self, x, keep: calls.append(1) or x)
    for options in ({}, dict(use_grn=True), dict(fused=True), dict(recompute_hidden=True), dict(layer_scale_init_value=0.0)):
        calls.clear()
        ConvNeXt(SMALL, **options)(image(1, 3, 32, 32))
        assert len(calls) == sum(SMALL['depths']), options
    calls.clear()
    ConvNeXt(SMALL, fused=False)(image(1, 3, 32, 32))
    assert not calls


def test_auto_is_for_the_cpu():
    x = image(1, 8, 4, 4)
    assert chosen('auto', x) and chosen(True, x) and not chosen(False, x)
    assert chosen(True, x.to('meta')) and not chosen('auto', x.to('meta'))


@pytest.mark.parametrize('wrong', ['yes', None, 1, 0, [], 'AUTO'], ids=repr)
def test_wrong_values(wrong):
    with pytest.raises(InputError, match="fused: expected 'auto' .*, True or False; got"):
        ConvNeXt(SMALL, fused=wrong)


def test_tensors_of_other_classes_are_not_plain():
    class Quantised(Tensor):
        pass

    layer = nn.Linear(4, 4)
    assert is_plain(layer, nn.Linear) and not is_plain(layer, GRN)
    layer.weight = nn.Parameter(torch.zeros(4, 4).as_subclass(Quantised))
    assert not is_plain(layer, nn.Linear)


def test_lora_trains_and_changes_the_output():
    peft = pytest.importorskip('peft')
    torch.manual_seed(0)
    model = ConvNeXt(SMALL, layer_scale_init_value=1.0)
    x = image(2, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
    config = peft.LoraConfig(r=4, target_modules=['pwconv1', 'pwconv2'])
    adapted = peft.inject_adapter_in_model(config, model)
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert len(trained) == 4 * sum(SMALL['depths'])
    optimizer = torch.optim.Adam(trained, lr=0.1)
    for _ in range(2):  # the second one moves the matrices that see a zero at first
        optimizer.zero_grad()
        sum(m[:, 0].mean() for m in adapted(x)).backward()  # not of all channels: the output norms hold their sums
        optimizer.step()
    assert all(p.grad is not None for p in trained)
    with torch.no_grad():
        assert all((a - b).abs().max() > 1e-4 for a, b in zip(adapted(x), before))


def test_small_work_takes_the_plain_layers_by_default(real_limits) -> None:
    x = torch.zeros(1, 8, 4, 4)
    assert guard.MIN_WORK > 1
    assert [guard.chosen('auto', x, work) for work in (guard.MIN_WORK - 1, guard.MIN_WORK, None)] == [False, True, True]
    assert guard.chosen(True, x, 1) and not guard.chosen(False, x, guard.MIN_WORK)


@pytest.mark.parametrize('batch, tiled', [(1, False), (300, True)])
def test_a_block_counts_channels_squared_and_all_pixels(batch: int, tiled: bool, monkeypatch) -> None:
    monkeypatch.setattr(guard, 'MIN_WORK', 8 * 8 * 16 * 300)
    block, called = Block(8), []
    monkeypatch.setattr(block, 'tiled', lambda x, keep: called.append('tiled') or x)
    block(torch.zeros(batch, 8, 4, 4))
    assert bool(called) is tiled


@pytest.mark.parametrize('use_grn', [False, True], ids=['V1', 'V2'])
def test_tiled_and_plain_blocks_in_one_model(use_grn: bool, real_limits, monkeypatch) -> None:
    """By default the first stage of this one is large work and the others are small."""
    monkeypatch.setattr(guard, 'MIN_WORK', 16 * 16 * 24 * 24)
    torch.manual_seed(0)
    arch = dict(depths=(1, 1, 1, 1), dims=(16, 16, 16, 16))
    model, plain = (ConvNeXt(arch, use_grn=use_grn, layer_scale_init_value=1.0, fused=f).double() for f in ('auto', False))
    plain.load_state_dict(model.state_dict())
    tiled = []
    for i, stage in enumerate(model.stages):
        run = stage[0].tiled
        monkeypatch.setattr(stage[0], 'tiled', lambda *args, i=i, run=run: tiled.append(i) or run(*args))
    x, grads = image(1, 3, 96, 96, dtype=torch.float64), []
    for one in (model, plain):
        maps = one(x)
        sum(m.square().sum() for m in maps).backward()
        grads.append([*(m.detach() for m in maps), *(p.grad for p in one.parameters())])
    assert tiled == [0]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * theirs.abs().max().item())
