"""The zoo's results as the page docs/zoo.md shows them, and what is known to fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from zoo_cases import STEPS
from zoo_detectors import DETECTORS, path_of
from zoo_segmentors import ARCH_OF, HEADS

BACKBONE = 'the method is its backbone'
BRANCHES = 'takes the branches of its own backbone'
TOKENS = "takes a transformer's tokens"
# What is known to fail, and why. Those of the third kind fail with their own backbone, too (--stock).
EXCEPTIONS = {
    'detectors': BACKBONE,
    'tridentnet': BACKBONE,
    'DDRHead': BRANCHES,
    'PIDHead': BRANCHES,
    'DPTHead': TOKENS,
    'SETRMLAHead': TOKENS,
    'SideAdapterCLIPHead': TOKENS,
    'carafe, mask': "MMCV's CARAFE layer takes no batch without an object",
    'point_rend': "MMDetection's PointRend takes no batch without an object",
    'queryinst': 'its boxes reach beyond the image, where MMDetection pastes no mask on a CPU',
    'ssd': "MMDetection's SSDHead has no loss_cls, which its prediction asks for",
}
LACKS = {
    'built': 'not built',
    'objects': 'no step with objects',
    'an image without': 'no step with an image without',
    'no objects': 'no step without objects',
    'predicts': 'trains; no prediction',
}
assert list(LACKS) == ['built', *STEPS, 'predicts']
HEAD = """# The zoo

One stock config of every family of MMDetection that detects in images, and of every head of MMSegmentation, with a
ConvNeXt-atto in place of its backbone: built, three training steps (with objects, with an image without, without any;
finite losses and gradients, which reach the stem), and a prediction at an odd size with objects or classes in it, all
without compiled operators. That the operators give mmcv's numbers is what their own tests say ([plugin.md](plugin.md)).
Layers, queries and proposals are fewer, so that a model takes seconds on a CPU; scores count from 0 on, so that untrained
heads have results. GLIP and Grounding DINO read words through a BERT of one layer.

```sh
make zoo                            # into work_dirs/zoo.json
make zoo ZOO='--stock'              # what fails, with its own backbone
make zoo ZOO='--markdown docs/zoo.md'
```
"""


def fine(result: dict[str, Any] | None) -> bool:
    return result is not None and 'error' not in result


def counted(results: dict[str, Any], names: Iterable[str]) -> str:
    names = list(names)
    return f'{sum(fine(results.get(name)) for name in names)} of {len(names)}'


def summary(results: dict[str, Any]) -> str:
    """How many of each train and predict, and what fails that is no exception."""
    lines = [
        f'MMDetection: {counted(results, DETECTORS)} families train and predict',
        f'MMSegmentation: {counted(results, HEADS)} heads train and predict',
    ]
    unknown = [name for name, result in results.items() if not fine(result) and name not in EXCEPTIONS]
    better = [name for name, result in results.items() if fine(result) and name in EXCEPTIONS]
    lines += [f'failing, and no exception: {", ".join(unknown)}'] * bool(unknown)
    lines += [f'an exception that works: {", ".join(better)}'] * bool(better)
    return '\n'.join(lines)


def outcome(result: dict[str, Any] | None) -> str:
    """How far it came, and its error."""
    if result is None:
        return 'not run'
    if fine(result):
        return 'trains and predicts'
    error = result['error'].replace('|', r'\|').rstrip(': ')
    return f'{LACKS[(result["reached"] or ["built"])[-1]]}: `{error}`'


def rows(results: dict[str, Any], paths: dict[str, str]) -> Iterator[str]:
    """Of what works."""
    for name, path in paths.items():
        if fine(results[name]):
            yield f'| {name} | `{path}` |'


def page(results: dict[str, dict[str, Any]]) -> str:
    """The whole page. Raises SystemExit where a model has not been run, or an exception not with its own backbone."""
    ours, stock = results.get('convnext', {}), results.get('stock', {})
    lacking = [name for name in (*DETECTORS, *HEADS) if name not in ours]
    lacking += [f'{name} with --stock' for name in EXCEPTIONS if name not in stock]
    if lacking:
        raise SystemExit(f'error: expected a result of every model; {", ".join(lacking)} have none')
    of = results['of']
    if of['operators'] != 'convnext_dense':
        raise SystemExit('error: expected results without compiled operators, got those of an mmcv that has them')
    text = [HEAD, f'Run with {", ".join(f"{key} {of[key]}" for key in of if key not in ("operators", "code"))}.\n']
    text += ['## What does not work\n', '| | why | with ConvNeXt | with its own backbone |', '|---|---|---|---|']
    for name, why in EXCEPTIONS.items():
        if not fine(ours[name]):
            text.append(f'| {name} | {why} | {outcome(ours[name])} | {outcome(stock[name])} |')
    for title, what, paths in (
        ('MMDetection', 'families', {name: path_of(name) for name in DETECTORS}),
        ('MMSegmentation', 'heads', {name: f'{path}.py' for name, path in HEADS.items()}),
    ):
        text += [f'\n## {title}: {counted(ours, paths)} {what} work\n', '| | config |', '|---|---|', *rows(ours, paths)]
    wider = ', '.join(f'{head} takes ConvNeXt-{arch}' for head, arch in ARCH_OF.items())
    return '\n'.join([*text, f'\n{wider}, since its norms divide the channels by 16.']) + '\n'
