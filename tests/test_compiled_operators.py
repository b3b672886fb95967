"""Our operators beside mmcv's own CPU kernels, where `make compiled-operators` has built them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import compiled_operators
import pytest
import torch
from detectors import batch, build
from plain_samples import ROIS
from test_compiled import deform, last
from test_compiled import roi_align as align
from torch import Tensor

from convnext_dense.mmcv_ext.compiled import contiguous, make_safe
from convnext_dense.mmcv_ext.operators import OPERATORS
from convnext_dense.mmcv_ext.roi_align_max import max_roi_align_backward, max_roi_align_forward
from convnext_dense.run.options import load_config
from convnext_dense.run.settle import settle_norms

mmcv_ops = pytest.importorskip('mmcv.ops')
COMPILED = compiled_operators.load()
if COMPILED is None:
    pytest.skip('make compiled-operators builds it', allow_module_level=True)
psa_mask = sys.modules['mmcv.ops.psa_mask'].psa_mask
# name -> largest absolute difference
differences: dict[str, float] = {}


@pytest.fixture(scope='module', autouse=True)
def table() -> Iterator[None]:
    """With -s, the differences."""
    yield
    print(f'\n\n{"operator":<46}largest absolute difference')
    for name, difference in differences.items():
        print(f'{name:<46}{difference:.1e}')


def answers(run: Callable[[], list[Tensor]], patch: pytest.MonkeyPatch) -> tuple[list[Tensor], list[Tensor]]:
    """What mmcv's Python gives with our operators and with the compiled ones in `mmcv._ext`."""
    results = []
    for functions in (OPERATORS, {name: contiguous(getattr(COMPILED, name)) for name in compiled_operators.OPERATORS}):
        with patch.context() as context:
            for name in compiled_operators.OPERATORS:
                context.setattr(sys.modules['mmcv._ext'], name, functions[name])
            results.append(run())
    return results[0], results[1]


def measure(name: str, ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    """Of the same shapes, and no further apart than `tolerance` times the largest value."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape and a.dtype == b.dtype
        difference = float((a - b).abs().max()) if a.numel() else 0.0
        differences[name] = max(differences.get(name, 0.0), difference)
        assert difference <= tolerance * max(1.0, float(b.abs().max()) if b.numel() else 0.0)


def compare(name: str, run: Callable[[], list[Tensor]], patch: pytest.MonkeyPatch, tolerance: float) -> list[Tensor]:
    """What `run` gives with ours, which is what it gives with the compiled ones."""
    ours, theirs = answers(run, patch)
    measure(name, ours, theirs, tolerance)
    return ours


def rounding(dtype: torch.dtype) -> float:
    return 64 * torch.finfo(dtype).eps


def both_directions(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The output, and the gradients of the inputs for one that is fixed."""
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    out = function(*inputs)
    seed = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, inputs, seed)]


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def boxes(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 60
    return torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 40 + 1], dim=1)


def rotated(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale, least = torch.tensor([60, 60, 40, 20, 6.3]), torch.tensor([0, 0, 1, 1, -3.1])
    return torch.rand(count, 5, generator=generator) * scale + least


SCORES = torch.rand(97, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize('count', [1, 97])
@pytest.mark.parametrize('offset', [0, 1])
def test_nms(count: int, offset: int, monkeypatch) -> None:
    dets, scores = boxes(count), SCORES[:count]
    compare('nms', lambda: [*mmcv_ops.nms(dets, scores, 0.4, offset)], monkeypatch, 0.0)
    for method in ('naive', 'linear', 'gaussian'):
        soft = partial(mmcv_ops.soft_nms, dets, scores, 0.3, 0.5, 0.01, method, offset)
        compare('softnms', lambda soft=soft: [*soft()], monkeypatch, rounding(torch.float32))


@pytest.mark.parametrize('threshold', [0.2, 0.5])
def test_nms_match(threshold: float, monkeypatch) -> None:
    dets = torch.cat([boxes(97), SCORES[:, None]], dim=1)
    groups = compare('nms_match', lambda: mmcv_ops.nms_match(dets, threshold), monkeypatch, 0.0)
    assert 1 < len(groups) < 97


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align(aligned: bool, ratio: int, dtype: torch.dtype, monkeypatch) -> None:
    rois = ROIS.to(dtype)

    def run() -> list[Tensor]:
        return both_directions(
            lambda x: mmcv_ops.roi_align(x, rois, (3, 5), 0.5, ratio, 'avg', aligned), random(2, 5, 13, 16, dtype=dtype)
        )

    compare(f'roi_align, mean, {dtype}', run, monkeypatch, rounding(dtype))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_max(aligned: bool, ratio: int, dtype: torch.dtype) -> None:
    x, rois = random(2, 5, 13, 16, dtype=dtype), ROIS.to(dtype)
    rois = rois[rois[:, 3] > rois[:, 1]]  # where there is no area, mmcv gives the value that its loop begins with
    geometry, results = (3, 5, 0.5, ratio), []
    for compiled in (False, True):
        buffers, into = [x.new_zeros(len(rois), 5, 3, 5) for _ in range(3)], torch.zeros_like(x)
        seed = random(*buffers[0].shape, dtype=dtype, seed=1)
        if compiled:
            COMPILED.roi_align_forward(x, rois, *buffers, *geometry, 0, aligned)
            COMPILED.roi_align_backward(seed, rois, *buffers[1:], into, *geometry, 0, aligned)
        else:
            max_roi_align_forward(x, rois, *buffers, *geometry, aligned)
            max_roi_align_backward(seed, rois, *buffers[1:], into, *geometry, aligned)
        results.append([*buffers, into])
    measure(f'roi_align, maximum, {dtype}', *results, rounding(dtype))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('clockwise', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_rotated(aligned: bool, ratio: int, clockwise: bool, dtype: torch.dtype, monkeypatch) -> None:
    rois = torch.cat([torch.arange(9.0)[:, None] % 2, rotated(9)], dim=1).to(dtype)

    def run() -> list[Tensor]:
        return both_directions(
            lambda x: mmcv_ops.roi_align_rotated(x, rois, (3, 5), 0.5, ratio, aligned, clockwise),
            random(2, 5, 13, 16, dtype=dtype),
        )

    compare(f'roi_align_rotated, {dtype}', run, monkeypatch, rounding(dtype))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_deform_conv(dtype: torch.dtype, monkeypatch) -> None:
    x, weight = random(2, 4, 7, 6, dtype=dtype), random(6, 2, 3, 3, dtype=dtype, seed=1)
    offset, mask = random(2, 36, 4, 3, dtype=dtype, seed=2), random(2, 18, 4, 3, dtype=dtype, seed=3).sigmoid()
    bias, geometry = random(6, dtype=dtype, seed=4), (2, 1, 1, 2, 2)

    def first() -> list[Tensor]:
        return both_directions(lambda *a: mmcv_ops.deform_conv2d(*a, *geometry), x, offset, weight)

    def second() -> list[Tensor]:
        return both_directions(lambda *a: mmcv_ops.modulated_deform_conv2d(*a, *geometry), x, offset, mask, weight, bias)

    compare(f'deform_conv, {dtype}', first, monkeypatch, rounding(dtype))
    compare(f'modulated_deform_conv, {dtype}', second, monkeypatch, rounding(dtype))


@pytest.mark.parametrize('kind', [0, 1])
@pytest.mark.parametrize('sizes', [(3, 4, 3, 5), (2, 3, 5, 7), (4, 3, 2, 4)])
def test_psamask(sizes: tuple[int, int, int, int], kind: int, monkeypatch) -> None:
    height, width, *mask = sizes
    x = random(2, mask[0] * mask[1], height, width)
    compare('psamask', lambda: both_directions(lambda x: psa_mask(x, kind, tuple(mask)), x), monkeypatch, 0.0)


@pytest.mark.parametrize('mode', ['iou', 'iof'])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('aligned', [True, False])
def test_bbox_overlaps(aligned: bool, offset: int, mode: str, monkeypatch) -> None:
    some, others = boxes(33), boxes(33 if aligned else 20, seed=1)
    run = partial(mmcv_ops.bbox_overlaps, some, others, mode, aligned, offset)
    compare('bbox_overlaps', lambda: [run()], monkeypatch, rounding(torch.float32))


@pytest.mark.parametrize('mode', ['iou', 'iof'])
@pytest.mark.parametrize('aligned', [True, False])
def test_box_iou_rotated(aligned: bool, mode: str, monkeypatch) -> None:
    some, others = rotated(61), rotated(61 if aligned else 40, seed=1)
    others[:5] = some[:5]  # equal boxes, and boxes that share edges
    others[5:9] = some[5:9] + torch.tensor([1, 0, 0, 0, 0]) * some[5:9, 2:3]
    compare('box_iou_rotated', lambda: [mmcv_ops.box_iou_rotated(some, others, mode, aligned)], monkeypatch, 1e-5)


@pytest.mark.parametrize('threshold', [0.1, 0.5])
def test_nms_rotated(threshold: float, monkeypatch) -> None:
    _, kept = compare('nms_rotated', lambda: [*mmcv_ops.nms_rotated(rotated(97), SCORES, threshold)], monkeypatch, 0.0)
    assert 1 < len(kept) < 97


@pytest.mark.parametrize('call', [align, deform])
def test_maps_that_lie_channels_last(call: Callable[..., list[Tensor]]) -> None:
    """The kernels misread them, or refuse, by themselves; guarded, they give the numbers of contiguous ones."""
    module = ModuleType('mmcv._ext')
    module.__dict__.update({name: getattr(COMPILED, name) for name in compiled_operators.OPERATORS})
    x, grad = random(2, 5, 11, 13), random(2, 5, 4, 3, seed=1)
    expected = call(module, x, grad)
    assert (call(module, last(x), last(grad))[0] - expected[0]).abs().max() > 1
    make_safe(module)
    for got, right in zip(call(module, last(x), last(grad)), expected):
        assert torch.equal(got, right)


@pytest.mark.slow
def test_the_losses_of_the_toy_mask_rcnn(monkeypatch) -> None:
    """With its maps channels last; the kernels by themselves misread them: another loss of masks, and no error."""
    cfg = load_config('mask_rcnn_convnext_atto_shapes')
    torch.manual_seed(0)
    settle_norms(cfg, 1)
    model = build(cfg).train()
    data = model.data_preprocessor(batch([(128, 160), (160, 128)], [3, 2], classes=5), training=True)

    def losses() -> list[Tensor]:
        torch.manual_seed(1)
        model.zero_grad()
        found = model(**copy.deepcopy(data), mode='loss')
        total, parts = model.parse_losses(found)
        total.backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        return [total.detach(), *(value.detach() for value in parts.values()), grads]

    ours = compare('losses of the toy Mask R-CNN', losses, monkeypatch, 1e-5)
    for name in compiled_operators.OPERATORS:
        monkeypatch.setattr(sys.modules['mmcv._ext'], name, getattr(COMPILED, name))
    unguarded = losses()
    print(f'\nloss {float(ours[0]):.7f}, of misread maps {float(unguarded[0]):.7f}')
    assert abs(unguarded[0] - ours[0]) > 1e-3
