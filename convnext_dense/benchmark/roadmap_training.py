"""Training the walk's networks on the toy set: a process a run, each kept, so that what was stopped goes on where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from convnext_dense.benchmark.roadmap import Row, network_of
from convnext_dense.errors import InputError
from convnext_dense.files import partial_file

RECIPE = 'roadmap_upernet_shapes'
RUN, RESULT = 'run.json', 'result.json'  # what a run is of, and its mIoU when it is done


def check_data(root: str) -> None:
    """Stop where the toy set is not."""
    if not Path(root, 'images', 'training').is_dir():
        how = f'convnext-dense shapes {root} writes it'
        raise InputError(f'--data-root: expected the toy set, got {root}, without images/training; {how}')


def train_rows(
    rows: Sequence[Row],
    seeds: int,
    iterations: int,
    data_root: str,
    folder: Path,
    say: Callable[[str], None],
    done: Callable[[], None],
) -> None:
    """Train each row's network with seeds 0 to `seeds` - 1 in a folder of its own; mIoU by seed is added to the row.

    All runs have the same recipe and number of iterations. `done` is called after each one. A row whose network another row has
    is not trained a second time.

    Raises:
        InputError: for runs of another number of iterations in `folder`, and for a run that ends with an error.
    """
    trained: dict[tuple[str, str], dict[str, float]] = {}
    asked: set[tuple[str, str, int]] = set()
    for row in rows:
        name = network_of(row['step'])
        earlier = row.get('miou') or {} if row.get('iterations') == iterations else {}
        found = trained.setdefault((row['size'], name), dict(earlier))
        row['miou'], row['iterations'] = found, iterations
        for seed in range(seeds):
            if (row['size'], name, seed) not in asked:
                asked.add((row['size'], name, seed))
                place = folder / f'{name}_{row["size"]}_{seed}'
                found[str(seed)] = result_of(place, name, row['size'], seed, iterations, data_root, say)
                done()


def result_of(
    place: Path, step: str, size: str, seed: int, iterations: int, data_root: str, say: Callable[[str], None]
) -> float:
    """mIoU of a run, which is started, or goes on, where it is not done."""
    about = dict(step=step, size=size, seed=seed, iterations=iterations, data=str(Path(data_root).resolve()))
    before = _read(place / RUN)
    for key, option in (('iterations', '--iterations'), ('data', '--data-root')):
        if before and before.get(key) != about[key]:
            raise InputError(f'{option}: expected {before.get(key)}, that of {place}, got {about[key]}; take another --out')
    file = place / RESULT
    if before and 'miou' in _read(file):
        return float(_read(file)['miou'])
    going = ', going on' if any(place.glob('iter_*.pth')) else ''
    say(f'{step}, {size}, seed {seed}: training {iterations} iterations in {place}{going} …')
    options = [
        *(f'model.backbone.step={step}', f'model.backbone.size={size}', f'train_cfg.max_iters={iterations}'),
        *(f'train_cfg.val_interval={iterations}', f'param_scheduler.1.end={iterations}'),
        *(f'param_scheduler.{i}.{end}={warm_up(iterations)}' for i, end in ((0, 'end'), (1, 'begin'))),
        f'default_hooks.checkpoint.interval={max(iterations // 10, 1)}',
    ]
    command = [sys.executable, '-m', 'convnext_dense', 'train', RECIPE, '--work-dir', str(place), '--seed', str(seed)]
    command += ['--resume', 'auto', '--data-root', data_root, '--cfg-options', *options]
    place.mkdir(parents=True, exist_ok=True)
    _write(place / RUN, about)
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get('PYTHONPATH'))))
    with (place / 'train.log').open('a') as log:
        status = finished(command, stdout=log, stderr=log, env=os.environ | dict(PYTHONPATH=paths, PYTHONSAFEPATH='1'))
    if status:
        lines = (place / 'train.log').read_text(errors='replace').split('\n')
        last = next((line for line in reversed(lines) if line.strip()), 'without a word')
        raise InputError(f'{step}, {size}, seed {seed}: training ended with status {status}: {last}')
    miou = last_miou(place)
    _write(file, about | dict(miou=miou))
    say(f'{step}, {size}, seed {seed}: mIoU {miou:.2f}')
    return miou


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):  # not there
        return {}


def _write(file: Path, content: dict[str, Any]) -> None:
    with partial_file(file) as made:
        made.write_text(json.dumps(content))


def finished(command: Sequence[str], **options: Any) -> int:
    """The exit status of a run; where this process is stopped, the run stops too, with a checkpoint."""
    # In a session of its own: Ctrl-C would reach it twice, and the second time ends it without a checkpoint.
    with subprocess.Popen(command, start_new_session=True, **options) as run:
        try:
            return run.wait()
        except BaseException:
            run.terminate()
            run.wait()
            raise


def warm_up(iterations: int) -> int:
    """The recipe's 30 of 600 iterations."""
    return max(iterations // 20, 1)


def last_miou(place: Path) -> float:
    """Of the last validation that the runs in a work directory wrote."""
    found = []
    for file in sorted(place.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            with suppress(ValueError):  # of a line that was cut
                entry = json.loads(line)
                found += [float(entry['mIoU'])] if 'mIoU' in entry else []
    if not found:
        raise InputError(f'{place}: expected a validation in its logs, found none; remove the folder to train it anew')
    return found[-1]
