"""The walk from a ResNet to ConvNeXt as rows: what was published, what is counted, and what is measured on this machine."""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from convnext_dense.benchmark.contest import finish, kept_bytes
from convnext_dense.errors import InputError
from convnext_dense.files import partial_file
from convnext_dense.models.roadmap import RoadmapNet
from convnext_dense.models.roadmap_steps import SIZES, STEPS, SWIN, Published
from convnext_dense.text import suggest

CLASSES, SIDE = 1000, 224  # of the published multiply-adds
KERNELS, PLAIN = 'our kernels', 'plain layers'
TITLES = dict(tiny='T: from ResNet-50', base='B: from ResNet-200')


def network_of(step: str) -> str:
    """The step whose network it is: the first two differ in the recipe alone."""
    return 'enhanced' if step == 'original' else step


Row = dict[str, Any]


def counted(step: str, size: str) -> tuple[int, int]:
    """Parameters and multiply-adds of a network with its classifier, at 224 pixels: convolutions and products alone."""
    with torch.device('meta'):
        net = RoadmapNet(step, size, fused=False).eval()
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 3, SIDE, SIDE))
    width = net.out_channels[-1]
    norms = sum(p.numel() for name, p in net.named_parameters() if name.startswith(('norm0', 'norm1', 'norm2')))
    params = sum(p.numel() for p in net.parameters()) - norms + (width + 1) * CLASSES
    return params, counter.get_total_flops() // 2 + width * CLASSES


def rows_of(size: str, steps: Sequence[str]) -> list[Row]:
    """A row for each step: published top-1, deviation and multiply-adds; counted multiply-adds and parameters."""
    rows = []
    for name in steps:
        step = STEPS[name]
        published: Published = getattr(step, size)
        params, macs = counted(name, size)
        rows.append(
            dict(
                size=size,
                step=name,
                title=step.title,
                published=dict(top1=published.top1, deviation=published.deviation, gmacs=published.gmacs),
                gmacs=round(macs / 1e9, 3),
                mparams=round(params / 1e6, 2),
            )
        )
    return rows


def parsed_steps(text: str | None) -> list[str]:
    """Names between commas, in the walk's order; all of them where none are given.

    Raises:
        InputError: for a name that is no step's, with the nearest.
    """
    if text is None:
        return list(STEPS)
    given = [name.strip() for name in text.split(',') if name.strip()]
    for name in given:
        if name not in STEPS:
            raise InputError(f'--steps: expected of {", ".join(STEPS)}; got {name!r}; {suggest(name, STEPS)}')
    if not given:
        raise InputError(f'--steps: expected names between commas, of {", ".join(STEPS)}; got none')
    return [name for name in STEPS if name in given]


# Measuring


def measure(rows: Sequence[Row], rounds: int, side: int, batch: int, say: Callable[[str], None]) -> None:
    """Add to each row of a size the median seconds of inference and of a training step, and the bytes that autograd keeps.

    Images of `side` pixels, one in inference, `batch` in training; every step once a round, the order turned round
    each time. The last step is also measured by our kernels, the others have plain layers alone.
    """
    one, several = (torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0)) for count in (1, batch))
    nets: dict[tuple[str, bool], RoadmapNet] = {}
    for row in rows:
        name = network_of(row['step'])
        for fused in (False, True) if STEPS[name].changes.get('separate') else (False,):
            nets.setdefault((name, fused), RoadmapNet(name, row['size'], fused=fused))
    say(f'{TITLES[rows[0]["size"]]}: {len(nets)} networks (the last also by our kernels), {rounds} round{"s" * (rounds > 1)}')
    seconds: dict[tuple[str, bool], tuple[list[float], list[float]]] = {key: ([], []) for key in nets}
    for index in range(rounds + 1):  # the first warms up
        for key, net in list(nets.items())[:: -1 if index % 2 else 1]:  # a network runs as often before its neighbour as after
            for step, found in zip((partial(infer, net, one), partial(train, net, several)), seconds[key]):
                begun = time.perf_counter()
                step()
                if index:
                    found.append(time.perf_counter() - begun)
    for row in rows:
        name = network_of(row['step'])
        for fused in (False, True):
            if (name, fused) in nets:
                net, (inference, training) = nets[name, fused], seconds[name, fused]
                kept = kept_bytes(partial(train, net, several), net)
                figures = dict(inference=median(inference), training=median(training), kept=kept)
                row.setdefault('measured', {})[KERNELS if fused else PLAIN] = figures
                row['on'] = machine(side, batch)


def infer(net: RoadmapNet, images: Tensor) -> None:
    net.eval()
    with torch.no_grad():
        net(images)
    finish()


def train(net: RoadmapNet, images: Tensor) -> None:
    net.train()
    sum(x.square().mean() for x in net(images)).backward()
    for param in net.parameters():
        param.grad = None
    finish()


def machine(side: int, batch: int) -> str:
    """Where and on what it was measured."""
    return f'{processor()}, PyTorch {torch.__version__}; {side}x{side}, {batch} images in training'


def processor() -> str:
    """Its name, and how many threads PyTorch has on it."""
    names = re.findall(r'^model name\s*:\s*(.+)$', _cpuinfo(), re.M) or [platform.processor() or platform.machine()]
    threads = torch.get_num_threads()
    return f'{names[0]}, {threads} thread{"s" * (threads > 1)}'


def _cpuinfo() -> str:
    try:
        return Path('/proc/cpuinfo').read_text()
    except OSError:  # another system
        return ''


# What is read and written


HEAD = ('step', 'top-1*', 'GMACs*', 'counted', 'M params', 'inference', 'training', 'activations', 'toy mIoU')


def notes(rows: Sequence[Row]) -> list[str]:
    """Lines below the table: what is published, what the multiples are of, and how long the runs on the toy set were."""
    lines = [
        '* published (arXiv 2201.03545, tables 10 and 11), at 224 pixels; multiply-adds and parameters counted here beside it'
    ]
    for row in rows:
        if 'measured' in row and row is _base(row, rows):
            first, unit = row['measured'][PLAIN], 2**20
            figures = f'{first["inference"]:.3f} s, {first["training"]:.3f} s, {first["kept"] / unit:.0f} MiB'
            lines.append(f'{TITLES[row["size"]]}: 1.00 is {row["step"]}: {figures}; measured on {row["on"]}')
    lengths = sorted({row['iterations'] for row in rows if row.get('miou') and 'iterations' in row})
    if lengths:
        lines.append(f'toy mIoU: mean +- deviation (seeds), after {" or ".join(map(str, lengths))} iterations from scratch')
    return lines


def table(rows: Sequence[Row]) -> Table:
    """Of each step; what its columns are, say the `notes`."""
    shown = Table(*HEAD)
    size = ''
    for row in rows:
        if row['size'] != size:
            size = row['size']
            shown.add_section()
            shown.add_row(TITLES[size])
        published = row['published']
        deviation = f' +- {published["deviation"]:.2f}' if published['deviation'] else ''
        toy = row.get('miou') or {}
        cells = [row['step'], f'{published["top1"]:.2f}{deviation}', f'{published["gmacs"]:.2f}', f'{row["gmacs"]:.2f}']
        cells.append(f'{row["mparams"]:.1f}')
        ways = list((row.get('measured') or {}).items()) or [('', None)]
        for way, found in ways:
            if way == KERNELS:
                cells = [f'  {KERNELS}', '', '', '', '']
            relative = relative_of(found, row, rows) if found else {}
            shown.add_row(
                *cells,
                *(f'{relative[key]:.2f}' if key in relative else '' for key in ('inference', 'training', 'kept')),
                toy_cell(toy) if way != KERNELS else '',
            )
        if row['step'] == list(STEPS)[-1]:
            swin = SWIN[size]
            shown.add_row('(Swin)', f'{swin.top1:.2f}', f'{swin.gmacs:.2f}')
    return shown


def toy_cell(miou: Mapping[str, float]) -> str:
    """'mean +- deviation (seeds)'."""
    values = list(miou.values())
    if not values:
        return ''
    mean, deviation = mean_and_deviation(values)
    return f'{mean:.2f}{f" +- {deviation:.2f}" if len(values) > 1 else ""} ({len(values)})'


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the deviation of a sample (0 of a single value)."""
    tensor = torch.tensor(values, dtype=torch.float64)
    return float(tensor.mean()), float(tensor.std()) if len(values) > 1 else 0.0


def relative_of(found: Mapping[str, float], row: Row, rows: Sequence[Row]) -> dict[str, float]:
    """A row's measured figures as multiples of those of the size's first row of the same conditions."""
    base = _base(row, rows)
    return {key: value / base['measured'][PLAIN][key] for key, value in found.items()} if base else {}


def _base(row: Row, rows: Sequence[Row]) -> Row | None:
    alike = (one for one in rows if 'measured' in one and (one['size'], one.get('on')) == (row['size'], row.get('on')))
    return next(alike, None)


KEPT = ('measured', 'on', 'miou', 'iterations')  # of a row in the file


class Walk:
    """The rows in a file: those of this call, and what earlier ones measured and trained.

    Raises:
        InputError: for a file that is not this command's.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: dict[tuple[str, str], Row] = {}
        if not file.is_file():
            return
        try:
            content = json.loads(file.read_text())
            self.rows = {(row['size'], row['step']): row for row in content['rows']}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            kind = 'no whole JSON' if isinstance(error, ValueError) else 'other JSON'
            why = f'{file}: expected the file of an earlier walk, got {kind}; remove it, or take another --out'
            raise InputError(why) from error

    def take(self, rows: Sequence[Row]) -> None:
        """Let `rows` replace those of their steps; what these measured and trained goes into them."""
        for row in rows:
            key = (row['size'], row['step'])
            row.update({name: value for name, value in self.rows.get(key, {}).items() if name in KEPT})
            self.rows[key] = row

    def ordered(self) -> list[Row]:
        """All rows, in the walk's order."""
        order = [(size, step) for size in SIZES for step in STEPS]
        return [self.rows[key] for key in order if key in self.rows]

    def write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with partial_file(self.file) as made:
            made.write_text(json.dumps(dict(rows=self.ordered()), indent=1))
