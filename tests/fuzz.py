"""Tools tried on wrong input by the hundred: each case in a process of its own, forked from one that has imported everything.

    python tests/fuzz.py --cases 500 --seed 1        # values of every type for every key of the recipes and every option

What is accepted: status 2 with one line on stderr and no work directory, or a run that ends with finite losses and metrics.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from forked import Forked
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {name: ROOT / f'configs/{name}_convnext_atto_shapes.py' for name in ('upernet', 'mask_rcnn')}
LIMIT = 90  # seconds of a case
MEMORY = 12 * 2**30  # bytes that a case may ask for
# One step and one validation, in one process.
SHORT = {'train_cfg.val_interval': '1', 'default_hooks.logger.interval': '1'}
SHORT |= {
    f'{name}_dataloader.{key}': value
    for name in ('train', 'val', 'test')
    for key, value in (('num_workers', '0'), ('persistent_workers', 'False'))
}
END = dict(upernet='train_cfg.max_iters', mask_rcnn='train_cfg.max_epochs')


@dataclass(frozen=True)
class Outcome:
    """How a tool ended: exit status (-signal where one ended it), its output, and whether its work directory is there."""

    status: int
    out: str
    err: str
    left: bool

    @property
    def complaint(self) -> str | None:
        """Why it is no clear line and no right run; None where it is."""
        lines = self.err.strip().splitlines()
        if self.status == 2:
            if len(lines) != 1 or not lines[0].startswith('error: '):
                return f'{len(lines)} lines on stderr: {self.err[-300:]}'
            return 'a work directory was left' if self.left else None
        if self.status != 0:
            return f'exit status {self.status}: {" ".join(lines[-2:])[:600]}'
        losses = [float(value) for value in re.findall(r'\bloss\w*: ([-+\w.]+)', self.out)]
        bad = [value for value in losses if not math.isfinite(value)]
        return f'losses {bad[:3]}' if bad else None


def run(tool: str, args: Sequence[str], work_dir: Path | None = None) -> Outcome:
    """Run a tool in a forked process, on one thread.

    Not in a fork of this process: PyTorch refuses gradients there, once another test has had some on several threads.
    """
    folder = Path(tempfile.mkdtemp())
    limited = import_module('fuzz')._limited  # by this name also where this file is the script
    env = {**os.environ, 'HOME': str(folder)}  # what `~` in a path means
    with open(folder / 'out', 'w') as out, open(folder / 'err', 'w') as err:
        process = Forked(stdout=out.fileno(), stderr=err.fileno(), env=env, cwd=folder, call=(limited, tool, list(args)))
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    texts = [(folder / name).read_text(errors='replace') for name in ('out', 'err')]
    shutil.rmtree(folder)
    left = work_dir is not None and work_dir.exists()
    if left:
        shutil.rmtree(work_dir)
    return Outcome(status, *texts, left)


def _limited(tool: str, args: Sequence[str]) -> None:
    from convnext_dense.run.command import exit_with_line

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.argv = [f'convnext-dense {tool}', *args]
    exit_with_line(import_module(f'convnext_dense.commands.{tool}').main)


# What is put in the place of a value: every type, and of each the ends and the odd ones.
NUMBERS = st.sampled_from(['0', '-1', '1', '2', '7', '100', '2147483648', '18446744073709551616', '-3', '010', '1_000'])
FRACTIONS = st.sampled_from(['0.0', '0.5', '1.0', '-0.5', '2.5', '1e-320', '1e30', 'nan', 'inf', '-inf'])
WORDS = st.sampled_from(
    ['None', 'True', 'False', 'true', 'nonsense', 'ConvNeXt', 'BN', '../..', '/', 'a b', 'größe', 'x' * 300, '{}', '-']
)
SINGLE = st.one_of(NUMBERS, FRACTIONS, WORDS)
LISTS = st.lists(SINGLE, max_size=4).map(lambda items: f'[{",".join(items)}]')
PAIRS = st.lists(NUMBERS, min_size=1, max_size=3).map(lambda items: f'({",".join(items)})')
NESTED = st.lists(LISTS, max_size=2).map(lambda items: f'[{",".join(items)}]')
VALUES = st.one_of(NUMBERS, FRACTIONS, SINGLE, LISTS, PAIRS, NESTED)
PATHS = st.sampled_from(
    ['nowhere', '.', '/dev/null', '/proc/self/mem', 'x' * 300, 'a\nb', '', '~', 'hf-hub:', 'timm:nothing', 'file:///x', 'none']
)
OPTIONS = {
    'train': dict(
        values=('--seed', '--check-data', '--launcher'),
        paths=('--resume', '--load-from', '--pretrained', '--train-ann', '--val-ann', '--data-root', '--work-dir'),
        flags=('--amp', '--auto-scale-lr', '--new-heads', '--resume', '--nonsense'),
    ),
    'test': dict(
        values=('--seed', '--check-data', '--eval-backend'),
        paths=('--out', '--show-dir', '--val-ann', '--data-root', '--work-dir', '--train-ann'),
        flags=('--tta', '--nonsense'),
    ),
}


@dataclass(frozen=True)
class Case:
    """A tool's arguments, but for the data set and the work directory."""

    tool: str
    config: str
    overrides: tuple[tuple[str, str], ...]
    options: tuple[str, ...]


def keys(config: str) -> list[str]:
    """The dotted keys of a config that the runner reads, and some that nothing does."""
    from convnext_dense.run.nodes import leaves, top_level
    from convnext_dense.run.options import load_config

    read = [key for key, _ in leaves(load_config(str(CONFIGS[config]))._cfg_dict) if key.split('.')[0] in top_level()]
    return [*read, *(f'{key}.nonsense' for key in read[::20]), 'nonsense', 'randomness.seed', 'train_dataloader.drop_last']


def cases(tools: Sequence[str]) -> st.SearchStrategy[Case]:
    known = {config: keys(config) for config in CONFIGS}

    @st.composite
    def case(draw: Any) -> Case:
        tool, config = draw(st.sampled_from(tools)), draw(st.sampled_from(list(CONFIGS)))
        many = draw(st.sampled_from([0, 1, 1, 1, 1, 1, 2]))
        one = st.tuples(st.sampled_from(known[config]), VALUES)
        overrides = draw(st.lists(one, min_size=many, max_size=many, unique_by=lambda pair: pair[0]))
        options: list[str] = []
        if not overrides or draw(st.integers(0, 3)) == 0:
            have = OPTIONS[tool]
            kind = draw(st.sampled_from(list(have)))
            option = draw(st.sampled_from(have[kind]))
            options = [option] if kind == 'flags' else [f'{option}={draw(PATHS if kind == "paths" else SINGLE)}']
        return Case(tool, config, tuple(overrides), tuple(options))

    return case()


class Tools:
    """Cases run on a small toy set, and a checkpoint of each config for tools/test.py."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work_dir = folder, folder / 'run'
        # In a fork too: OpenCV's threads would not live on in the forks after it.
        assert run('shapes', [str(folder / 'shapes'), '--train', '4', '--val', '2']).complaint is None
        self.checkpoints: dict[str, Path] = {}

    def arguments(self, case: Case, work_dir: Path) -> list[str]:
        pairs = [f'{key}={value}' for key, value in (SHORT | {END[case.config]: '1'} | dict(case.overrides)).items()]
        given = {option.split('=')[0] for option in case.options}
        usual = {'--data-root': self.folder / 'shapes', '--work-dir': work_dir}
        usual = [text for option, value in usual.items() if option not in given for text in (option, str(value))]
        first = [str(CONFIGS[case.config])] + ([str(self.checkpoint(case.config))] if case.tool == 'test' else [])
        return [*first, *usual, *case.options, '--cfg-options', *pairs]

    def checkpoint(self, config: str) -> Path:
        if config not in self.checkpoints:
            kept = self.folder / f'{config}_trained'
            done = run('train', self.arguments(Case('train', config, (), ()), kept))
            assert done.status == 0 and done.complaint is None, done
            self.checkpoints[config] = kept
        return self.checkpoints[config]

    def outcome(self, case: Case) -> Outcome:
        return run(case.tool, self.arguments(case, self.work_dir), self.work_dir)


def import_all() -> None:
    """What the tools import, so that a fork has it at once."""
    import mmseg.datasets.transforms
    import mmseg.models  # noqa: F401


def hunt(tools: Tools, strategy: st.SearchStrategy[Case], count: int, seed: int) -> list[tuple[Case, str]]:
    """Try `count` cases; those with a complaint."""
    found: list[tuple[Case, str]] = []
    tally = {0: 0, 2: 0}

    @seeded(seed)
    @settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def attempt(case: Case) -> None:
        outcome = tools.outcome(case)
        tally[outcome.status] = tally.get(outcome.status, 0) + 1
        if outcome.complaint is not None:
            found.append((case, outcome.complaint))
            print(f'{case}: {outcome.complaint}', flush=True)
        elif outcome.status == 0 and case.overrides:
            print(f'ran: {case.overrides} {case.options}', flush=True)

    attempt()
    print(f'{sum(tally.values())} cases: {tally[2]} stopped with one line, {tally[0]} ran, {len(found)} found')
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=int, default=100)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--tools', nargs='+', choices=list(OPTIONS), default=list(OPTIONS))
    args = parser.parse_args()
    import_all()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(bool(hunt(Tools(Path(folder)), cases(args.tools), args.cases, args.seed)))


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    main()
