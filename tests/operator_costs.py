"""What the operators cost beside mmcv's own CPU kernels, as docs/plugin.md shows it: python tests/operator_costs.py

One thread; the median of --rounds (7) calls each, theirs and ours in turn, on the same inputs. Without the kernels that
`make compiled-operators` builds, ours alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import compiled_operators
import mmcv.ops as mmcv_ops
import torch
from torch import Tensor

from convnext_dense.benchmark.roadmap import processor
from convnext_dense.mmcv_ext.compiled import contiguous
from convnext_dense.mmcv_ext.operators import OPERATORS

CHANNELS, HEIGHT, WIDTH, ROIS = 256, 100, 168, 512


@dataclass
class Call:
    """A call whose first inputs have gradients, if any; `kernel` is an operator that mmcv has on the CPU, or empty."""

    name: str
    kernel: str
    function: Callable[..., Any]
    inputs: list[Tensor]
    trained: int = 0


def random(*shape: int) -> Tensor:
    return torch.randn(shape)


def boxes(count: int) -> Tensor:
    corner = torch.rand(count, 2) * torch.tensor([900.0, 600])
    return torch.cat([corner, corner + torch.rand(count, 2) * 300 + 8], dim=1)


def rotated(count: int) -> Tensor:
    return torch.rand(count, 5) * torch.tensor([900.0, 600, 300, 300, 6.3]) + torch.tensor([0, 0, 8.0, 8, -3.1])


def rois(count: int, of: Callable[[int], Tensor] = boxes) -> Tensor:
    return torch.cat([torch.zeros(count, 1), of(count)], dim=1)


def calls() -> Iterator[Call]:
    dets, scores, x = boxes(2000), torch.rand(2000), random(1, CHANNELS, HEIGHT, WIDTH)
    size, scale, align = (7, 7), 1 / 8, mmcv_ops.roi_align
    yield Call('nms of 2,000', 'nms', lambda: mmcv_ops.nms(dets, scores, 0.5), [])
    yield Call('soft-nms of 1,000', 'softnms', lambda: mmcv_ops.soft_nms(dets[:1000], scores[:1000], 0.5), [])
    yield Call('nms_match of 2,000', 'nms_match', lambda: mmcv_ops.nms_match(torch.cat([dets, scores[:, None]], 1), 0.5), [])
    yield Call('box overlaps, 2,000 by 200', 'bbox_overlaps', lambda: mmcv_ops.bbox_overlaps(dets, dets[:200]), [])
    for mode, name in (('avg', 'mean'), ('max', 'maximum, 2x2 samples')):
        ratio = 0 if mode == 'avg' else 2
        yield Call(
            f'roi_align, {name}',
            'roi_align_forward',
            lambda x, mode=mode, ratio=ratio: align(x, rois(ROIS), size, scale, ratio, mode, True),
            [x],
            1,
        )
    small, weight = random(1, CHANNELS, 50, 84), random(CHANNELS, CHANNELS, 3, 3)
    offset, mask = random(1, 18, 50, 84), torch.rand(1, 9, 50, 84)
    yield Call(
        'deformable convolution v1, 256 channels, 50x84',
        'deform_conv_forward',
        lambda *a: mmcv_ops.deform_conv2d(*a, 1, 1),
        [small, offset, weight],
        3,
    )
    yield Call(
        'deformable convolution v2, the same',
        'modulated_deform_conv_forward',
        lambda *a: mmcv_ops.modulated_deform_conv2d(*a, None, 1, 1),
        [small, offset, mask, weight],
        4,
    )
    turned = rotated(2000)
    iou = mmcv_ops.box_iou_rotated
    yield Call('IoU of rotated boxes, 1,000 by 100', 'box_iou_rotated', lambda: iou(turned[:1000], turned[1000:1100]), [])
    yield Call('the same of 2,000 pairs', 'box_iou_rotated', lambda: iou(turned, turned.flip(0), aligned=True), [])
    yield Call('NMS of 2,000 rotated boxes', 'nms_rotated', lambda: mmcv_ops.nms_rotated(turned, scores, 0.5), [])
    yield Call(
        'roi_align of rotated boxes, 2x2 samples',
        'roi_align_rotated_forward',
        lambda x: mmcv_ops.roi_align_rotated(x, rois(ROIS, rotated), size, scale, 2, True, False),
        [x],
        1,
    )
    psa = mmcv_ops.PSAMask('collect', (31, 31))
    yield Call('psa_mask, 16x16, masks of 31x31', 'psamask_forward', psa, [random(1, 31 * 31, 16, 16)], 1)
    features, kernels = random(1, CHANNELS, 64, 64), torch.rand(1, 25, 128, 128)
    yield Call('CARAFE, 256x64x64, to twice the size', '', lambda f, m: mmcv_ops.carafe(f, m, 5, 1, 2), [features, kernels], 2)
    yield Call('RoI pooling', '', lambda x: mmcv_ops.roi_pool(x, rois(ROIS), size, scale), [x], 1)
    shifts = random(ROIS, 2, 7, 7)
    pool = mmcv_ops.deform_roi_pool
    yield Call('deformable RoI pooling', '', lambda x, o: pool(x, rois(ROIS), o, size, scale, 2, 0.1), [x, shifts], 2)
    convolution = mmcv_ops.MaskedConv2d(CHANNELS, CHANNELS, 3, padding=1).requires_grad_(False)
    few = (torch.rand(1, HEIGHT, WIDTH) < 0.1).float()
    yield Call('masked convolution of a tenth of the places', '', lambda x: convolution(x, few), [x])
    yield Call('the same of all', '', lambda x: convolution(x, torch.ones(1, HEIGHT, WIDTH)), [x])
    target = torch.randint(0, 80, (20000,))
    yield Call(
        'softmax focal loss, 20,000 by 80',
        '',
        lambda x: mmcv_ops.softmax_focal_loss(x, target, 2.0, 0.25, None, 'mean'),
        [random(20000, 80)],
        1,
    )


def seconds(call: Call, backward: bool) -> float:
    """Of one call, and of the gradients of the sum of what it gives."""
    torch.manual_seed(0)
    inputs = [x.detach().requires_grad_(backward and i < call.trained) for i, x in enumerate(call.inputs)]
    begun = time.perf_counter()
    out = call.function(*inputs)
    if backward:
        out.sum().backward()
    return time.perf_counter() - begun


def measured(call: Call, kernels: dict[str, Callable[..., Any]], rounds: int) -> Iterator[tuple[str, float, float | None]]:
    """(what, ours, theirs) in milliseconds, theirs None where mmcv has no such kernel on the CPU."""
    ext = sys.modules['mmcv._ext']
    rivals = [OPERATORS, {**OPERATORS, **kernels}] if call.kernel in kernels else [OPERATORS]
    for backward in (False, True)[: 1 + bool(call.trained)]:
        times: list[list[float]] = [[] for _ in rivals]
        for turn in range(rounds + 1):
            for i in range(len(rivals)) if turn % 2 else reversed(range(len(rivals))):
                vars(ext).update(rivals[i])
                times[i].append(1000 * seconds(call, backward))
        ours, *theirs = (median(row[1:]) for row in times)
        yield ('f ' if not backward else 'b ') * bool(call.trained), ours, theirs[0] if theirs else None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    compiled = compiled_operators.load()
    kernels = {name: contiguous(getattr(compiled, name)) for name in compiled_operators.OPERATORS} if compiled else {}
    print(f'{processor()}, PyTorch {torch.__version__}, medians of {rounds}, milliseconds; f forward, b both ways\n')
    print('| operator | here | compiled |\n|---|---|---|')
    for call in calls():
        rows = list(measured(call, kernels, rounds))
        here = ', '.join(f'{what}{ours:.0f}' for what, ours, _ in rows)
        there = ', '.join(f'{what}{theirs:.0f}' for what, _, theirs in rows if theirs is not None)
        print(f'| {call.name} | {here} | {there or "none on the CPU"} |', flush=True)


if __name__ == '__main__':
    main()
