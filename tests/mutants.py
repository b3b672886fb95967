"""Which one-line changes of the code do the tests notice? `make mutants`, a development tool (requirements-dev.txt).

cosmic-ray's operators list the mutations; a seeded sample of them, even over the rooms, is tried. The libraries are imported
once; each mutant is a fork of that process, which imports `convnext_dense` with one file changed in memory and runs the file's
fast tests. One that would write, rename or remove anything outside the temporary folder is ended before it does. Tests that
start a process of their own do not see the change.

    python tests/mutants.py --rooms weights,models --sample 100 --seed 1
    python tests/mutants.py --files convnext_dense/kernels/strips.py --sample 0        # every mutation of a file
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from importlib import import_module, util
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

os.environ.setdefault('OMP_NUM_THREADS', '1')  # a fork takes no threads along

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import _OPERATORS

ROOT = Path.cwd()
PACKAGE = 'convnext_dense'
LIBRARIES = 'pytest hypothesis timm transformers open_clip mmcv.ops mmdet.apis mmseg.apis mmengine.runner faster_coco_eval'
# A room's files, and its test files beside those named after a file or importing it; names without `test_` and `.py`.
ROOMS = {
    'weights': ('weights/*.py', 'open match fetch load layouts whole convert'),
    'training': ('training/*.py', 'layer_decay guards options hooks'),
    'data': ('data/*.py', 'check coco shapes tools'),
    'segmentation': ('segmentation/*.py', 'uper_head segmentor strip_loss compiling'),
    'detection': ('detection/*.py', 'coco_metric mask_head coco'),
    'run': ('run/*.py', 'options overrides rehearsal command launch tools'),
    'commands': ('commands/*.py', 'tools tools_coco to_files complexity convert'),
    'models': ('models/*.py', 'convnext pointwise compiling'),
    'kernels': ('kernels/*.py', 'convnext pointwise uper_head compiling'),
    'mmcv_ext': ('mmcv_ext/*.py', 'plugin operators'),  # not in the default sample, nor what follows
    'package': ('*.py', 'plugin'),
}
DEFAULT = list(ROOMS)[:-2]
# Sizes of tiles and strips, and when a faster way pays: they change no number, so nothing but a clock could notice.
SPEED = {'TILE', 'PART', 'PART_ROIS', 'MIN_VALUES', 'MIN_PIXELS', 'MIN_CHANNELS', 'STRIP_VALUES', 'VALUES', 'BUFFER', 'CHUNK'}
SPEED |= {'fewer_multiplications', 'is_faster', '_groups'}
SAME = {'Eq_Is', 'Is_Eq', 'NotEq_IsNot', 'IsNot_NotEq'}  # of the small numbers and constants that the code compares
# (file, part of the line that is changed): why no test on the CPU can notice.
EQUIVALENT = {
    ('kernels/pointwise.py', 'keep[image].item() == 0'): 'the factors are 0 or above',
    ('kernels/pointwise.py', '.dtype != weight.dtype and x.is_cuda'): 'of CUDA alone',
    ('kernels/upsampled_conv.py', 'align_corners=align_corners)[0].t()'): 'a batch of one: its first is its last',
    ('segmentation/segmentor.py', '_low_logits(image)[0]'): 'a batch of one: its first is its last',
    (
        'segmentation/uper_head.py',
        'i > 0 and fewer_multiplications(',
    ): 'the first map has the size itself, at which it never pays',
}


class Mutant(NamedTuple):
    file: str
    line: int
    operator: str
    before: str
    after: str
    source: str


def untouched(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Spans of what does nothing when the code runs: annotations, constants of speed, caches."""
    nodes: list[ast.AST] = []
    for node in ast.walk(ast.parse(source)):
        nodes += [a for field in ('annotation', 'returns') if (a := getattr(node, field, None)) is not None]
        nodes += [d for d in getattr(node, 'decorator_list', []) if 'cache' in ast.unparse(d) or 'dataclass' in ast.unparse(d)]
        targets = getattr(node, 'targets', [getattr(node, 'target', None)])
        names = {n.id for target in targets if target is not None for n in ast.walk(target) if isinstance(n, ast.Name)}
        alias = isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(('tuple[', 'dict[', 'Callable['))
        used = isinstance(node, (ast.BinOp, ast.Compare)) and {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & SPEED
        if alias or used or names & SPEED or getattr(node, 'name', None) in SPEED:
            nodes.append(node)
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in nodes]


def places(path: Path) -> list[tuple[Path, list[tuple[str, type, int]]]]:
    """(file, mutations) for each place and kind of operator."""
    source = path.read_text()
    spans, found = untouched(source), defaultdict(list)
    nodes = list(ast_nodes(get_ast(source)))
    for name, operator in _OPERATORS.items():
        if operator.arguments() or any(name.endswith(same) for same in SAME):
            continue
        positions = [position for node in nodes for position in operator().mutation_positions(node)]
        for occurrence, (start, end) in enumerate(positions):
            if not any(low <= start and end <= high for low, high in spans):
                found[start, operator.__module__].append((name, operator, occurrence))
    return [(path, found[key]) for key in sorted(found)]


def mutant(path: Path, name: str, operator: type, occurrence: int) -> Mutant:
    source = path.read_text()
    changed = mutate_code(source, operator(), occurrence)
    pairs = enumerate(zip(source.splitlines(), changed.splitlines()), 1)
    line, (before, after) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    return Mutant(path.relative_to(ROOT).as_posix(), line, name, before.strip(), after.strip(), changed)


def _equivalent(m: Mutant) -> bool:
    return any(m.file.endswith(file) and part in m.before for file, part in EQUIVALENT)


def tests_of(file: str, room: str) -> list[str]:
    """The file's own tests first, then those that import it, then the room's."""
    stem, module = Path(file).stem, file[:-3].replace('/', '.')
    tests = sorted((ROOT / 'tests').glob('test_*.py'))
    own = [t for t in tests if t.stem == f'test_{stem}' or t.stem.startswith(f'test_{stem}_')]
    users = [
        t for t in tests if f'{module} ' in t.read_text() or f'from {module.rpartition(".")[0]} import {stem}' in t.read_text()
    ]
    names = [f'test_{name}' for name in ROOMS[room][1].split()]
    rest = [t for t in tests if t.stem in names]
    return [str(t) for t in dict.fromkeys([*own, *users, *rest])]


class _Changed(MetaPathFinder):
    """Answers one module with changed source."""

    def __init__(self, file: str, source: str) -> None:
        self.module = file[:-3].replace('/', '.').removesuffix('.__init__')
        self.path, self.source = str(ROOT / file), source

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> object:
        if fullname != self.module:
            return None
        loader = SourceFileLoader(fullname, self.path)
        loader.get_code = lambda name: compile(self.source, self.path, 'exec')  # type: ignore[method-assign]
        return util.spec_from_file_location(fullname, self.path, loader=loader)


def preload() -> None:
    """The libraries without the package: mmcv's operators are filled in by each child."""
    sys.path.insert(0, str(ROOT))
    stand_in = type('StandIn', (ModuleType,), {'__getattr__': lambda self, name: None})
    sys.modules['mmcv._ext'] = stand_in('mmcv._ext')
    for name in LIBRARIES.split():
        if util.find_spec(name.split('.')[0]) is not None:
            import_module(name)
    assert not any(name.startswith(PACKAGE) for name in sys.modules)
    gc.freeze()


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = {'os.remove', 'os.rmdir', 'os.rename', 'os.mkdir', 'os.truncate', 'os.chmod', 'os.chown', 'os.link', 'os.symlink'}


def stay_within(*folders: str) -> None:
    """End this process before it changes a file outside these folders: a mutant of what tidies up could take the whole disk."""
    allowed = tuple(os.path.join(os.path.realpath(folder), '') for folder in (*folders, '/dev', '/proc/self'))

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event == 'shutil.rmtree':
            paths, at = args[:1], -1
        elif event in CHANGING:
            two = event in ('os.rename', 'os.link', 'os.symlink')
            paths, at = args[: 1 + two], args[-1]
        elif event == 'open' and (isinstance(args[2], int) and args[2] & WRITING):
            paths, at = args[:1], -1
        else:
            return
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)):
                base = f'/proc/self/fd/{at}' if isinstance(at, int) and at >= 0 else ''
                place = os.path.realpath(os.path.join(base, os.fsdecode(path)))
                if not os.path.join(place, '').startswith(allowed):
                    os.write(2, f'stopped: {event} of {place}\n'.encode())
                    os._exit(4)

    sys.addaudithook(watch)


def child(file: str, source: str, tests: list[str], folder: str) -> None:
    os.setsid()
    stay_within(tempfile.gettempdir())
    out = os.open(f'{folder}/output', os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1), os.dup2(out, 2)
    held = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (8 << 30),) * 2)
    sys.meta_path.insert(0, _Changed(file, source))
    import_module(PACKAGE)
    spec = import_module(f'{PACKAGE}.ops').ext_spec()
    operators, stand_in = util.module_from_spec(spec), sys.modules['mmcv._ext']
    spec.loader.exec_module(operators)
    stand_in.__class__ = type(operators)
    stand_in.__dict__.update(operators.__dict__)
    import pytest

    arguments = ['-m', 'not slow', '-x', '-q', '-p', 'no:cacheprovider', '--basetemp', f'{folder}/tmp', '--rootdir', str(ROOT)]
    os._exit(int(pytest.main([*arguments, *tests])))


def status(file: str, source: str, tests: list[str], limit: float = 900) -> tuple[int | None, str]:
    """pytest's exit status in a fork, None where the time was over, and the end of its output."""
    folder = tempfile.mkdtemp(prefix='mutant')
    pid = os.fork()
    if pid == 0:
        try:
            child(file, source, tests, folder)
        finally:
            os._exit(3)
    end, code = time.monotonic() + limit, None
    while time.monotonic() < end and code is None:
        done, wait = os.waitpid(pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(wait) if done else time.sleep(0.05)
    if code is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    text = Path(f'{folder}/output').read_text(errors='replace') if Path(f'{folder}/output').exists() else ''
    shutil.rmtree(folder, ignore_errors=True)
    return code, text


def sample(rooms: list[str], files: list[str], size: int, seed: int) -> list[tuple[str, Mutant]]:
    """`size` mutants, as many from each room, one for a place at most; of every place for 0."""
    random_ = random.Random(seed)
    taken = []
    for i, room in enumerate(rooms):
        paths = sorted((ROOT / PACKAGE).glob(ROOMS[room][0]))
        paths = [p for p in paths if not files or str(p.relative_to(ROOT)) in files]
        found = [place for path in paths for place in places(path)]
        share = (size + i) // len(rooms) if size and not files else size or len(found)
        picked = sorted(random_.sample(range(len(found)), min(share, len(found))))
        several = [mutant(found[p][0], *random_.choice(found[p][1])) for p in picked]
        taken += [(room, m) for m in several if not _equivalent(m)]
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rooms', default=','.join(DEFAULT), help='default: %(default)s; also mmcv_ext, package')
    parser.add_argument('--files', nargs='+', default=[], help='only these, as convnext_dense/weights/open.py')
    parser.add_argument('--sample', type=int, default=300, help='mutants in all, 0 for every one (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--log', default='work_dirs/mutants.log', help='default: %(default)s')
    args = parser.parse_args()
    chosen = sample(list(ROOMS) if args.files else args.rooms.split(','), args.files, args.sample, args.seed)
    Path(args.log).parent.mkdir(parents=True, exist_ok=True)
    log = open(args.log, 'w', buffering=1)  # noqa: SIM115
    preload()

    def say(line: str) -> None:
        print(line, flush=True)
        print(line, file=log)

    limits: dict[str, float] = {}
    failing: set[str] = set()
    for room in {room: 0 for room, _ in chosen}:
        files = {m.file for of, m in chosen if of == room}
        tests = dict.fromkeys(test for file in sorted(files) for test in tests_of(file, room))
        start, file = time.monotonic(), next(iter(files))
        code, text = status(file, (ROOT / file).read_text(), [*tests, '--maxfail=99'])
        limits[room] = 4 * (time.monotonic() - start) + 10
        new = {line.split()[1] for line in text.splitlines() if line.startswith('FAILED ')}
        failing |= new
        say(f'{room}, unchanged: {" ".join(Path(test).stem for test in tests)}: {text.strip().splitlines()[-1:]}')
        if code != 0 and not new:
            sys.exit(f'error: the tests must run on the unchanged code; exit status {code}\n{text}')
    if failing:
        say(f'left out, since they fail on the unchanged code: {" ".join(sorted(failing))}')
    leave = [f'--deselect={test}' for test in failing]
    counts, survivors = defaultdict(lambda: [0, 0]), []
    for room, m in chosen:
        code, text = status(m.file, m.source, [*tests_of(m.file, room), *leave], limits[room])
        counts[room][0] += code != 0
        counts[room][1] += 1
        line = f'{m.file}:{m.line} {m.operator}\n    - {m.before}\n    + {m.after}'
        survivors += [line] if code == 0 else []
        say(f'{"survived" if code == 0 else "killed" if code is not None else "timed out"} {line}')
        print(text[-600:] if code == 0 else text[-1500:], file=log)
    say('\n'.join(['', 'survivors', *survivors, '', 'killed of total']))
    for room, (killed, total) in [*counts.items(), ('all', [sum(c) for c in zip(*counts.values())])]:
        say(f'  {room:10} {killed} of {total} ({100 * killed / total:.0f} %)')


if __name__ == '__main__':
    main()
