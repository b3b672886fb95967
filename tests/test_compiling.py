"""`ConvNeXt(compile=...)`: one graph for all image sizes, with the plain layers' values and gradients."""

import copy
import shutil

import pytest
import torch
from conftest import image, rounding
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from convnext_dense import ConvNeXt
from convnext_dense.kernels.compiling import compile_arguments, recording, shapes_alone

SMALL = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


@pytest.mark.slow
@pytest.mark.parametrize('options', [dict(with_cp=True), dict(use_grn=True, drop_path_rate=0.5)])
def test_compile_switch_makes_one_graph_for_all_sizes(options):
    counter = CompileCounter()
    torch._dynamo.reset()
    model = ConvNeXt(SMALL, layer_scale_init_value=1.0, compile=dict(backend=counter), **options)
    plain = ConvNeXt(SMALL, layer_scale_init_value=1.0, **options)
    plain.load_state_dict(model.state_dict(), strict=True)
    for size in ((64, 96), (65, 70), (200, 40)):
        x = image(2, 3, *size)
        for a, b in zip(model.eval()(x), plain.eval()(x)):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert counter.frame_count <= 2
    for size in ((64, 96), (65, 70)):
        sum(m.sum() for m in model.train()(image(2, 3, *size))).backward()
    assert counter.frame_count <= 4  # training and inference
    assert all(param.grad is not None for param in model.parameters())
    assert copy.deepcopy(model).state_dict().keys() == plain.state_dict().keys()  # as averaged models are made


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ('c++', 'g++', 'clang++'))), reason="PyTorch's own compiler needs a C++ compiler")
def test_training_by_pytorchs_compiler(tmp_path, monkeypatch):
    """A stage of V1 and one of V2: every kind of layer is in the graph, which takes long enough to compile."""
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path))  # what an older state of this code left there says nothing
    torch._dynamo.reset()
    counters.clear()
    model, plain = two_stages(), two_stages(fused=False)
    model.compile(**compile_arguments({}))
    plain.load_state_dict(model.state_dict())
    for size in ((64, 96), (100, 75), (77, 130), (96, 224)):
        for one in (model, plain):
            one.zero_grad()
            sum((m * image(*m.shape, seed=1)).sum() for m in one(image(2, 3, *size))).backward()
        for (name, param), other in zip(model.named_parameters(), plain.parameters(), strict=True):
            difference = (param.grad - other.grad).abs().max() / other.grad.abs().max()
            assert difference <= rounding(2 * 24 * 56), f'{name} at {size}: {difference:.1e}'
    assert counters['stats']['unique_graphs'] == 1


def two_stages(**options) -> ConvNeXt:
    first, second = (
        ConvNeXt(
            dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)), out_indices=(0, 1), layer_scale_init_value=1.0, use_grn=grn, **options
        )
        for grn in (False, True)
    )
    first.stages = nn.ModuleList([first.stages[0], second.stages[1]])
    first.downsample_layers = first.downsample_layers[:2]
    return first


@pytest.mark.slow
def test_convolution_under_autocast_is_in_sixteen_bits():
    torch._dynamo.reset()
    model, plain = two_stages(), two_stages(fused=False)
    model.compile(**compile_arguments(dict(backend='aot_eager')))
    plain.load_state_dict(model.state_dict())
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        for a, b in zip(model(image(1, 3, 64, 96)), plain(image(1, 3, 64, 96))):
            torch.testing.assert_close(a, b, rtol=0.02, atol=0.02)


def test_arguments_of_the_compiler():
    assert compile_arguments(dict(backend='eager')) == dict(backend='eager', fullgraph=True, dynamic=True)
    given = compile_arguments(dict(mode='max-autotune-no-cudagraphs', options=dict(epilogue_fusion=False)))
    assert given['options']['max_autotune'] and not given['options']['epilogue_fusion'] and 'mode' not in given
    torch.compile(nn.Identity(), **given)


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_exported_and_traced_graphs_are_of_standard_operators():
    model, x = ConvNeXt(SMALL).eval(), image(1, 3, 64, 96)
    exported = torch.export.export(model, (x,)).graph
    traced = torch.jit.trace(model, x, check_trace=False).inlined_graph
    assert 'aten.conv2d' in str(exported) and 'aten::_convolution' in str(traced)
    assert 'convnext_dense' not in str(exported) and 'convnext_dense::' not in str(traced)


def test_shapes_alone_take_the_plain_layers_and_end():
    assert not recording()
    with shapes_alone():
        assert recording()
        with shapes_alone():
            pass
        assert recording()
    assert not recording()
