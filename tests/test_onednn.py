"""oneDNN's linear layers, and what answers where it has none."""

import torch
from conftest import image

from convnext_dense.kernels import onednn


def test_a_processor_that_refuses_a_type_takes_the_standard_layer(monkeypatch):
    """oneDNN has the operator, but no kernel for bfloat16 where the processor has none: asked once, then never again."""

    def refuses(*args):
        raise RuntimeError('could not create a primitive descriptor')

    x, weight, bias, other = (image(1, 1, *size)[0, 0].bfloat16() for size in ((24, 32), (16, 32), (1, 16), (24, 16)))
    bias = bias[0]
    onednn.onednn_computes.cache_clear()
    try:
        monkeypatch.setattr(onednn, '_onednn_linear', refuses)
        assert not onednn.onednn_computes(torch.bfloat16)
        plain = torch.nn.functional.linear(x, weight, bias)
        assert onednn.linear(x, weight, bias).equal(plain)
        assert onednn.linear_gelu(x, weight, bias).equal(torch.nn.functional.gelu(plain))
        assert onednn.linear_add(x, weight, other).equal(other + torch.nn.functional.linear(x, weight))
        monkeypatch.setattr(onednn, '_onednn_linear', lambda x, weight, *rest, **options: x @ weight.t() + 1)
        onednn.onednn_computes.cache_clear()
        assert not onednn.onednn_computes(torch.float32), 'wrong numbers are no linear layer'
    finally:
        onednn.onednn_computes.cache_clear()
