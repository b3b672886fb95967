"""The page of one run: how it learnt, and the same pictures over its time; below, what its model gets wrong."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from convnext_dense.report.curves import curves
from convnext_dense.report.evaluated import About
from convnext_dense.report.html import chart, grid, page, png, table
from convnext_dense.report.log import PICTURES, Log

MOMENTS = 7  # validations of which pictures are shown, spread over the run
ROWS = 12  # validations in the table, the last ones
SHOWN = 6  # metrics in it
STATES = dict(
    running='The run was going on when this page was drawn: this is what it had logged so far.',
    finished='The run came to its end.',
    stopped='The run is not finished, and no process is in its work directory: --resume goes on.',
    unknown='The run is not finished; whether a process is in its work directory cannot be asked on this file system.',
)


def run_page(log: Log, sections: Sequence[str] = (), before: Path | None = None, drawn: Path | None = None) -> str:
    """The whole page; `sections` are of the evaluated model.

    Without them, those of the page that is in `before`, if it is of this run, go on: told as what they are. `drawn`: the
    curves, where they are drawn already.
    """
    parts = [_head(log), _curves(log, drawn), _validations(log), _over_time(log.folder)]
    # The earlier page is read last: another process may write it while this one draws.
    last = [_marks(log)[0], *sections, _marks(log)[1]] if sections else _carried_over(log, before)
    return page(log.folder.resolve().name, [*parts, *last])


def evaluated_line(about: About) -> str:
    """Which model the sections are of, and when they were made: as it stands in pages of a later time, too."""
    after = f', after {about.iteration} iterations' if about.iteration else ''
    words = f'What follows is of {about.checkpoint}{after}, on {len(about.pictures)} pictures; made {_now()}.'
    tested = Path(about.checkpoint)
    best = [path.name for path in sorted(tested.parent.glob('best_*.pth')) if path.name != tested.name]
    if best:
        words += f' The run kept {", ".join(best)}, too, which --checkpoint tests.'
    return f'<p class="note">{escape(words)}</p>'


def _carried_over(log: Log, before: Path | None) -> list[str]:
    """The part of an earlier page that is of the evaluated model."""
    text = before.read_text('utf-8', 'replace') if before is not None and before.is_file() else ''
    start, end = _marks(log)
    if start not in text or end not in text.partition(start)[2]:
        return []
    words = 'From here on as an earlier page had it: convnext-dense report makes it anew.'
    return [f'<h2>What the model gets wrong</h2><p class="warning">{words}</p>', start, _between(text, start, end), end]


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].rpartition(end)[0].strip()


def _marks(log: Log) -> tuple[str, str]:
    """Around what is of the evaluated model; of runs of one name, the time of the first start tells one from another."""
    name = escape(f'{log.folder.resolve().name}/{log.folders[0].name}')
    return f'<!-- evaluated: {name} -->', '<!-- end -->'


def _now() -> str:
    return time.strftime('%Y-%m-%d %H:%M')


def _head(log: Log) -> str:
    lines = [STATES[log.state], f'{log.iteration} iterations are logged; drawn {_now()}.']
    name = next(iter(log.metrics), None)
    best = log.best(name) if name else None
    if name and best is not None:
        lines.append(f'Best {name}: {best[1]:.4g} after {best[0]} iterations; last: {log.values(name, val=True)[1][-1]:.4g}.')
    if log.starts:
        lines.append(f'It went on {len(log.starts)} time{"s" * (len(log.starts) > 1)} after it had stopped (dotted lines).')
    told = ''.join(f'<p class="warning">{escape(line)}</p>' for line in log.told)
    return f'<h1>{escape(log.folder.resolve().name)}</h1><p>{escape(" ".join(lines))}</p>{told}'


def _curves(log: Log, drawn: Path | None) -> str:
    alt = 'curves of the run'
    shown = chart(curves({log.folder.resolve().name: log}), alt) if drawn is None else png(drawn.read_bytes(), alt)
    return f'<h2>Curves</h2>{shown}'


def _validations(log: Log) -> str:
    names = log.metrics[:SHOWN]
    if not names:
        return '<h2>Validations</h2><p>None yet.</p>'
    best = log.best(names[0])
    rows = []
    for row in log.val[-ROWS:]:
        cells = [f'{row[name]:.4g}' if isinstance(row.get(name), (int, float)) else '-' for name in names]
        rows.append([f'{row["step"]}{" (best)" if best and best[0] == row["step"] else ""}', *cells])
    more = f'<p>The last {ROWS} of {len(log.val)}.</p>' if len(log.val) > ROWS else ''
    return f'<h2>Validations</h2>{more}{table(["iteration", *map(escape, names)], rows)}'


def _over_time(folder: Path) -> str:
    """A row for each picture that the run kept: the truth, then predictions of some validations."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / PICTURES).glob('*_*.jpg')):
        moment, _, number = path.stem.rpartition('_')
        found.setdefault(number, {})[moment] = path
    if not found:
        return ''
    text = ['<h2>The same pictures over time</h2>']
    for _, moments in sorted(found.items()):
        times = [moment for moment in moments if moment != 'truth']
        chosen = [times[i] for i in dict.fromkeys(np.linspace(0, len(times) - 1, min(MOMENTS, len(times))).round().astype(int))]
        first = [('truth', 'annotated')] if 'truth' in moments else []
        named = [*first, *((moment, f'after {int(moment)} iterations') for moment in chosen)]
        text.append(grid([(_data_url(moments[moment]), caption) for moment, caption in named]))
    return '\n'.join(text)


def _data_url(path: Path) -> str:
    return 'data:image/jpeg;base64,' + base64.b64encode(path.read_bytes()).decode()
