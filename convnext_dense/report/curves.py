"""What a run logged, drawn: losses, rate, gradients, metric with its best point, time beside the loading of data, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from convnext_dense.files import partial_file
from convnext_dense.report.html import drawn
from convnext_dense.report.log import Log, losses

COLUMNS, WIDTH, HEIGHT = 2, 5.2, 2.7  # panels in a row, and inches of a panel
FEW = 40  # points of a line up to which each is marked


def curves(logs: Mapping[str, Log]) -> Figure:
    """One figure of runs by their names. Of several, each panel has a line for each run; of one, the loss has its parts."""
    logs = {drawn(name): log for name, log in logs.items()}
    panels = [draw for draw, there in _panels(list(logs.values())) if there]
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(WIDTH * COLUMNS, HEIGHT * rows), layout='constrained')
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis, draw in zip(axes, panels):
        draw(axis, logs)
        axis.set_xlabel('iteration', fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        axis.spines[['top', 'right']].set_visible(False)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7, frameon=False)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure


def write_curves(logs: Mapping[str, Log], path: Path) -> None:
    """As a PNG, in one move."""
    figure = curves(logs)
    with partial_file(path) as partial:
        figure.savefig(partial, format='png', dpi=110)


def _panels(logs: Sequence[Log]) -> list[tuple[Callable[[Any, Mapping[str, Log]], None], bool]]:
    """What is drawn, and whether any run has it."""

    def logged(*names: str) -> bool:
        return any(log.values(name)[0] for log in logs for name in names)

    return [
        (_loss, logged('loss')),
        (_metric, any(log.metrics for log in logs)),
        (_rate, logged('lr', 'base_lr')),
        (_gradients, logged('grad_norm')),
        (_time, logged('time')),
        (_memory, logged('memory')),
    ]


def _line(axis: Any, steps: Sequence[int], values: Sequence[float], **style: Any) -> None:
    marker = 'o' if len(steps) <= FEW else None
    axis.plot(steps, values, marker=marker, markersize=2.5, linewidth=1.2, **style)


def _each(axis: Any, logs: Mapping[str, Log], name: str, title: str) -> None:
    for index, (run, log) in enumerate(logs.items()):
        steps, values = log.values(name)
        if steps:  # a run without has no line, and no place in the legend; the others keep their colours
            _line(axis, steps, values, label=run if len(logs) > 1 else None, color=f'C{index}')
    axis.set_title(title, fontsize=9, loc='left')


def _loss(axis: Any, logs: Mapping[str, Log]) -> None:
    _each(axis, logs, 'loss', 'loss')
    if len(logs) == 1:
        (log,) = logs.values()
        axis.get_lines()[0].set(color='black', label='loss')
        for name in losses([log]):
            _line(axis, *log.values(name), label=drawn(name), alpha=0.8)
    values = [v for log in logs.values() for v in log.values('loss')[1] if v > 0]
    if values and max(values) > 20 * min(values):
        axis.set_yscale('log')
    _starts(axis, logs)


def _starts(axis: Any, logs: Mapping[str, Log]) -> None:
    """Where a run went on after it had stopped."""
    if len(logs) == 1:
        (log,) = logs.values()
        for start in log.starts:
            axis.axvline(start, color='grey', linewidth=0.7, linestyle=':')


def _metric(axis: Any, logs: Mapping[str, Log]) -> None:
    names = [log.metrics[0] for log in logs.values() if log.metrics]
    shown = dict.fromkeys(names)
    if len(logs) == 1:
        (log,) = logs.values()
        shown = dict.fromkeys([names[0], *(n for n in log.metrics if n.endswith(('_mAP', 'mAcc')))][:3])
    for run, log in logs.items():
        for name in shown:
            steps, values = log.values(name, val=True)
            if not steps:
                continue
            axis.plot(steps, values, marker='o', markersize=3, linewidth=1.2, label=run if len(logs) > 1 else drawn(name))
            best = log.best(name)
            if best is not None and name == names[0]:
                axis.plot(*best, marker='*', markersize=10, color=axis.get_lines()[-1].get_color())
                axis.annotate(f'{best[1]:.4g}', best, textcoords='offset points', xytext=(0, -13), fontsize=7, ha='center')
    axis.margins(y=0.15)  # below the best point is its figure
    axis.set_title(f'{drawn(names[0])}, best marked', fontsize=9, loc='left')


def _rate(axis: Any, logs: Mapping[str, Log]) -> None:
    _each(axis, logs, 'base_lr' if any(log.values('base_lr')[0] for log in logs.values()) else 'lr', 'learning rate')


def _gradients(axis: Any, logs: Mapping[str, Log]) -> None:
    _each(axis, logs, 'grad_norm', 'norm of the gradients')


def _time(axis: Any, logs: Mapping[str, Log]) -> None:
    for run, log in logs.items():
        _line(axis, *log.values('time'), label=f'{run}: step' if len(logs) > 1 else 'step, with its data')
        colour = axis.get_lines()[-1].get_color()
        label = f'{run}: data' if len(logs) > 1 else 'waiting for data'
        _line(axis, *log.values('data_time'), label=label, linestyle='--', color=colour)
    axis.set_title('seconds', fontsize=9, loc='left')
    axis.set_ylim(bottom=0)


def _memory(axis: Any, logs: Mapping[str, Log]) -> None:
    _each(axis, logs, 'memory', 'peak memory, MiB')
    most = max(max(log.values('memory')[1], default=1.0) for log in logs.values())
    axis.set_ylim(0, 1.15 * most)
