"""Which families of MMDetection and heads of MMSegmentation work with ConvNeXt in them: `make zoo`.

    python tests/zoo.py [NAME ...] [--stock] [--out work_dirs/zoo.json]
    python tests/zoo.py --markdown docs/zoo.md [--out work_dirs/zoo.json]

Each model has a process of its own, two at a time. Results are added to those in --out; --stock leaves each config's own
backbone and takes, without names, those that are named as exceptions (tests/zoo_table.py). Ends with status 1 where a model
fails that is no exception.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
SECONDS = 240
os.environ.setdefault('TRANSFORMERS_VERBOSITY', 'error')
PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmdet', 'mmsegmentation', 'transformers')
FORKING = threading.Lock()  # or the other's pipe is open in this child, too, and its death is not seen


def child(name: str, stock: bool, pipe: Connection) -> None:
    """Runs one model and sends what came of it."""
    from zoo_cases import try_model

    reached, begun = [], time.monotonic()
    result: dict[str, Any] = dict(reached=reached)
    sys.stdout = sys.stderr = open(os.devnull, 'w')  # noqa: SIM115
    try:
        try_model(name, stock, reached.append)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = (str(error).strip().splitlines() or [''])[0]
        result['error'] = f'{type(error).__name__}: {line[:160]}'
        result['where'] = [f'{shown(frame.filename)}:{frame.lineno} {frame.name}' for frame in frames[-12:]]
    pipe.send(dict(result, seconds=round(time.monotonic() - begun, 1)))
    os._exit(0)


def shown(file: str) -> str:
    return file.rpartition('site-packages/')[2].removeprefix(f'{ROOT}/')


def run_one(name: str, stock: bool) -> dict[str, Any]:
    """In a process that is killed after four minutes."""
    with FORKING:
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=child, args=(name, stock, there))
        process.start()
        there.close()
    result = None
    try:
        if here.poll(SECONDS):
            result = here.recv()
    except EOFError:
        pass
    process.kill()
    process.join()
    return result or dict(reached=[], error=f'no answer within {SECONDS} seconds, or the process died', where=[])


def versions() -> dict[str, str]:
    """Of what the results are: other results are not kept beside them."""
    import mmcv

    from convnext_dense import ops

    code = hashlib.sha256()
    for path in sorted((ROOT / 'convnext_dense').rglob('*.py')):
        code.update(path.read_bytes())
    operators = 'convnext_dense' if ops.backend() == 'torchvision' else 'mmcv'
    packages = {package: version(package) for package in PACKAGES}
    return dict(packages, mmcv=mmcv.__version__, operators=operators, code=code.hexdigest()[:12])


def main() -> int:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME', help='a folder of configs of mmdet, or a class of heads of mmseg')
    parser.add_argument('--stock', action='store_true')
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs/zoo.json')
    parser.add_argument('--markdown', type=Path, metavar='FILE')
    args = parser.parse_args()
    results = json.loads(args.out.read_text()) if args.out.is_file() else {}
    if args.markdown:
        from zoo_table import page

        args.markdown.write_text(page(results))
        return 0
    warnings.filterwarnings('ignore')
    from zoo_cases import DETECTORS, HEADS
    from zoo_table import EXCEPTIONS, summary

    known = [*DETECTORS, *HEADS]
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f'expected names of {", ".join(known)}; got {", ".join(unknown)}')
    names = args.names or (list(EXCEPTIONS) if args.stock else known)
    of = versions()
    if results.get('of') != of:
        results = dict(of=of)
    kind, lock = 'stock' if args.stock else 'convnext', threading.Lock()
    args.out.parent.mkdir(parents=True, exist_ok=True)

    def work(name: str) -> None:
        result = run_one(name, args.stock)
        with lock:
            results.setdefault(kind, {})[name] = result
            args.out.write_text(json.dumps(results, indent=1))
            error = f'{"/".join(result["reached"][-1:])}: {result["error"]}' if 'error' in result else 'ok'
            print(f'{name:28} {result.get("seconds", SECONDS):6} s  {error}', flush=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, names))
    print(summary(results.get('convnext', {})))
    return int(any('error' in results[kind][name] and name not in EXCEPTIONS for name in names))


if __name__ == '__main__':
    sys.exit(main())
