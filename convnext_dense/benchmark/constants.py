"""The constants of the kernels, measured: each at several values, or the two ways on either side of a threshold.

docs/kernels.md says what each constant is. The value that the code has is marked; a range as wide as the differences between
the values says that the machine does not care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from convnext_dense.benchmark.timing import interleave
from convnext_dense.kernels import cross_entropy, depthwise, guard, pointwise, strips, upsampled_conv, winograd
from convnext_dense.models.convnext import Block

Step = Callable[[], Any]


@dataclass(frozen=True)
class Sweep:
    """A constant, the values that it is tried at, and the work that is timed, by its builder."""

    name: str
    home: MutableMapping[Any, Any]  # a module's names, or a dict in it
    key: Any
    work: str
    build: Callable[[], Step]
    factors: tuple[float, ...] = (0.25, 0.5, 1, 2, 4)


@dataclass(frozen=True)
class Threshold:
    """A condition under which the faster way is taken, with sizes on either side of it: (label, taken, plain, fast) each."""

    name: str
    cases: Callable[[], Iterator[tuple[str, bool, Step, Step]]]


def image(*shape: int) -> Tensor:
    return torch.randn(*shape).contiguous(memory_format=torch.channels_last)


def blocks(training: bool) -> Step:
    """A block of the first and one of the third stage of ConvNeXt-T at 512x512."""
    sizes = (96, 128), (384, 32)
    made = [(Block(dim, layer_scale_init_value=1.0, fused=True), image(2, dim, side, side)) for dim, side in sizes]

    def step() -> None:
        for block, x in made:
            if training:
                block(x).sum().backward()
            else:
                with torch.no_grad():
                    block(x)

    return step


def weight_grad() -> Step:
    x, grad = image(2, 96, 128, 128), image(2, 96, 128, 128)
    return lambda: depthwise.weight_grad_by_parts(x, grad)


def fusion() -> Step:
    """UperNet's fusion of three levels into the first one's size."""
    maps = [image(1, 512, side, side) for side in (64, 32, 16)]
    weights = [torch.randn(512, 512, 3, 3) for _ in maps]
    base = image(1, 512, 128, 128)

    def step() -> None:
        with torch.no_grad():
            upsampled_conv.conv_of_upsampled(base.clone(), maps, weights, False)

    return step


def minimal_filtering() -> Step:
    x, weight = image(1, 512, 128, 128), torch.randn(512, 512, 3, 3)

    def step() -> None:
        with torch.no_grad():
            winograd._Winograd.apply(x, weight, None)

    return step


def loss() -> Step:
    logits = image(2, 150, 128, 128).requires_grad_()
    labels = torch.randint(150, (2, 512, 512))
    return lambda: cross_entropy.upsampled_cross_entropy(logits, labels)[0].backward()


def _infer(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.no_grad():
        return run(x)


def _train(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of x."""
    x = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(run(x).sum(), x)
    return grad


def block_sizes() -> Iterator[tuple[str, bool, Step, Step]]:
    for dim, side in ((40, 16), (40, 64), (96, 16), (96, 32), (160, 8), (160, 16), (384, 4), (384, 8), (384, 16)):
        block, x = Block(dim), image(1, dim, side, side)
        taken, label = guard.chosen('auto', x, x.numel() * dim), f'block of {dim} channels, {side**2} pixels'
        for work, mode in (('inference', _infer), ('training', _train)):
            yield f'{label}, {work}', taken, partial(mode, block.plain, x), partial(mode, block.tiled, x)


def depthwise_sizes() -> Iterator[tuple[str, bool, Step, Step]]:
    for side in (4, 8, 16, 32):
        x, grad, weight = image(2, 96, side, side), image(2, 96, side, side), torch.randn(96, 1, 7, 7)
        values = x.shape[1:].numel()
        yield (
            f'{values} values an image',
            values >= depthwise.MIN_VALUES[torch.float32],
            partial(depthwise._weight_grad, x, grad, weight),
            partial(depthwise.weight_grad_by_parts, x, grad),
        )


def filtering_sizes() -> Iterator[tuple[str, bool, Step, Step]]:
    for channels, side in ((64, 128), (128, 128), (256, 32), (256, 64), (256, 128), (512, 32), (512, 64)):
        x, weight = image(1, channels, side, side), torch.randn(channels, channels, 3, 3)
        yield (
            f'{channels} channels, {side**2} pixels',
            winograd.is_faster(x, weight),
            partial(F.conv2d, x, weight, padding=1),
            partial(winograd._Winograd.apply, x, weight, None),
        )


def fusion_sizes() -> Iterator[tuple[str, bool, Step, Step]]:
    base = image(1, 512, 64, 64)

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        return base + F.conv2d(F.interpolate(x, 64, mode='bilinear'), weight, padding=1)

    def fast(x: Tensor, weight: Tensor) -> Tensor:
        return upsampled_conv.conv_of_upsampled(base.clone(), [x], [weight], False)

    for side in (60, 48, 32, 16):
        x, weight = image(1, 512, side, side), torch.randn(512, 512, 3, 3)
        yield (
            f'{side}x{side} to 64x64',
            upsampled_conv.fewer_multiplications((64, 64), (side, side), 512),
            partial(plain, x, weight),
            partial(fast, x, weight),
        )


SWEEPS = (
    Sweep('pointwise.TILE', pointwise.TILE, 'cpu', 'two blocks, inference', lambda: blocks(False)),
    Sweep('pointwise.TILE', pointwise.TILE, 'cpu', 'two blocks, training', lambda: blocks(True)),
    Sweep('depthwise.PART', vars(depthwise), 'PART', 'weight gradient', weight_grad, (0.5, 1, 2, 4)),
    Sweep('upsampled_conv.BUFFER', vars(upsampled_conv), 'BUFFER', 'fusion of three levels', fusion),
    Sweep('winograd.STRIP_VALUES', vars(winograd), 'STRIP_VALUES', '3x3, 512 channels', minimal_filtering),
    Sweep('strips.VALUES', vars(strips), 'VALUES', 'loss of 150 classes', loss),
)


def _plain_loss(labels: Tensor, logits: Tensor) -> Tensor:
    return F.cross_entropy(F.interpolate(logits, labels.shape[1:], mode='bilinear'), labels, reduction='sum')


def _strip_loss(labels: Tensor, logits: Tensor) -> Tensor:
    return cross_entropy.upsampled_cross_entropy(logits, labels)[0]


def loss_classes() -> Iterator[tuple[str, bool, Step, Step]]:
    for classes in (2, 8, 19, 150):
        logits, labels = image(2, classes, 64, 64), torch.randint(classes, (2, 256, 256))
        yield (
            f'loss of {classes} classes',
            classes >= cross_entropy.MIN_CLASSES,
            partial(_train, partial(_plain_loss, labels), logits),
            partial(_train, partial(_strip_loss, labels), logits),
        )


THRESHOLDS = (
    Threshold('cross_entropy.MIN_CLASSES', loss_classes),
    Threshold('guard.MIN_WORK', block_sizes),
    Threshold('depthwise.MIN_VALUES', depthwise_sizes),
    Threshold('winograd.MIN_PIXELS, MIN_CHANNELS', filtering_sizes),
    Threshold('upsampled_conv.fewer_multiplications', fusion_sizes),
)


@contextmanager
def value_of(sweep: Sweep, value: Any) -> Iterator[None]:
    before = sweep.home[sweep.key]
    sweep.home[sweep.key] = value
    try:
        yield
    finally:
        sweep.home[sweep.key] = before


def constants(rounds: int) -> tuple[Table, Table]:
    """A row for each value of each constant, and one for each size on either side of a threshold."""
    torch.manual_seed(0)
    values = Table('constant', 'work', 'value', 'median ms', 'range ms', 'time / ours')
    for sweep in SWEEPS:
        ours, step = sweep.home[sweep.key], sweep.build()

        def run(value: Any, sweep: Sweep = sweep, step: Step = step) -> None:
            with value_of(sweep, value):
                step()

        tried = [int(ours * factor) for factor in sweep.factors]
        timings, _ = interleave({str(v): partial(run, v) for v in tried}, rounds)
        for name, timing in timings.items():
            mark = ' (ours)' if name == str(ours) else ''
            ratio = timing.median / timings[str(ours)].median
            shown = f'{1e3 * timing.median:.1f}', timing.span(1, 1e3), f'{ratio:.2f}'
            values.add_row(sweep.name, sweep.work, name + mark, *shown)
        values.add_section()
    sizes = Table('threshold', 'size', 'plain ms', 'fast ms', 'times faster', 'taken')
    for threshold in THRESHOLDS:
        for label, taken, plain, fast in threshold.cases():
            timings, _ = interleave({'plain': plain, 'fast': fast}, rounds)
            plain_ms, fast_ms = (f'{1e3 * timings[name].median:.2f}' for name in ('plain', 'fast'))
            ratio = timings['plain'].median / timings['fast'].median
            sizes.add_row(threshold.name, label, plain_ms, fast_ms, f'{ratio:.2f}', 'yes' if taken else 'no')
        sizes.add_section()
    return values, sizes
