"""A card for a trained model: Markdown with the header that the Hugging Face hub reads (its documentation, "Model Cards")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import yaml
from mmengine.config import Config

from convnext_dense.report.evaluated import About
from convnext_dense.report.html import percent
from convnext_dense.training.last_good import meta_of

WORST = 5  # classes that are named
NUMBERS = ('mIoU', 'mAcc', 'aAcc', 'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'coco/segm_mAP_50')
TYPES = {'mIoU': 'mean_iou', 'mAcc': 'mean_accuracy', 'aAcc': 'overall_accuracy'}  # by the hub's names of metrics


@dataclass
class Source:
    """Where a model and its numbers come from.

    Attributes:
        trained: what the data of its training is called.
        tested: what the data of its numbers is called; the same word where it is the same data.
        split: of the data, as its folder is called.
        command: that gives the numbers.
    """

    trained: str
    tested: str
    split: str
    command: str


def model_card(about: About, cfg: Config, source: Source, by_class: Mapping[str, float], name: str | None = None) -> str:
    """The text of `model_card.md`.

    Args:
        about: the evaluated model.
        cfg: the config of its training.
        source: of the model and its numbers.
        by_class: the metric that the model is known by, of 1, of each class; NaN where no picture has it.
        name: of the repository on the hub, in what shows how to load it.
    """
    header = _header(about, cfg, source, name or source.trained)
    parts = [_intro(about, cfg, source, name), _numbers(about, source), _recipe(about, cfg), _limits(about, source, by_class)]
    shown = yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=120)
    return f'---\n{shown}---\n\n' + '\n'.join(parts)


def _task(about: About) -> str:
    if about.kind == 'segmentation':
        return 'image-segmentation'
    return 'image-segmentation' if any(name.startswith('coco/segm') for name in about.metrics) else 'object-detection'


def _header(about: About, cfg: Config, source: Source, name: str) -> dict[str, Any]:
    task = _task(about)
    kind = 'semantic-segmentation' if about.kind == 'segmentation' else 'instance-segmentation'
    kind = kind if task == 'image-segmentation' else task
    metrics = [
        dict(type=TYPES.get(key, key.removeprefix('coco/')), name=key.removeprefix('coco/'), value=round(about.metrics[key], 4))
        for key in NUMBERS
        if key in about.metrics
    ]
    dataset = dict(name=source.tested, type=source.tested.lower().replace(' ', '-'), split=source.split)
    results = [dict(task=dict(type=task, name=kind.replace('-', ' ')), dataset=dataset, metrics=metrics)]
    tags = ['convnext', 'convnext_dense', 'mmengine', kind, *_backbone(cfg)[1:]]
    index = [dict(name=name.rpartition('/')[2], results=results)]
    return {'library_name': 'convnext_dense', 'pipeline_tag': task, 'tags': tags, 'model-index': index}


def _backbone(cfg: Config) -> list[str]:
    """Its type, and its size where it has one."""
    node = cfg.model.get('backbone') or {}
    found = [str(node.get('type')).rpartition('.')[2], node.get('arch') or node.get('step')]
    return [one for one in found if isinstance(one, str)]


def _intro(about: About, cfg: Config, source: Source, name: str | None) -> str:
    head = cfg.model.get('decode_head') or cfg.model.get('roi_head') or {}
    head = head[-1] if isinstance(head, list) else head
    parts = [str(cfg.model.type), ' '.join(_backbone(cfg)), str(head.get('type', ''))]
    what = 'a class for each pixel' if about.kind == 'segmentation' else 'objects as boxes'
    what += ' and masks' if about.kind == 'detection' and _task(about) == 'image-segmentation' else ''
    place = f'hf-hub:{name}' if name else about.checkpoint
    classes = _names(about.classes)
    return f"""# {name or f'{parts[1]} on {source.trained}'}

{parts[0]} with {parts[1]} and {parts[2]}, trained on {source.trained}. It predicts {what}.
Of {len(about.classes)} classes: {classes}.

```python
from convnext_dense import load_model

model = load_model({place!r})
model('picture.jpg').save('out.png')
```

Licence: not stated here. Say under which licence the weights and the data may be used before you pass them on.
"""


def _numbers(about: About, source: Source) -> str:
    rows = [
        f'| {key.removeprefix("coco/")} | {"-" if value < 0 else f"{value:.4g}"} |'
        for key, value in about.metrics.items()
        if not key.endswith('time')
    ]
    return '\n'.join(
        [
            '## Numbers',
            '',
            f'Measured on {len(about.pictures)} pictures of {source.tested} ({source.split}), by',
            '',
            '```sh',
            source.command,
            '```',
            '',
            f'after {about.iteration} iterations; `convnext-dense test` prints the same.',
            '',
            '| metric | value |',
            '|---|---|',
            *rows,
            '',
        ]
    )


def _recipe(about: About, cfg: Config) -> str:
    meta = meta_of(about.checkpoint)
    made: Any = meta.get('made_by')
    loader, optimiser = cfg.get('train_dataloader') or {}, (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    steps = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    images = cfg.model.get('data_preprocessor') or {}
    length = ', '.join(f'{key} {value}' for key, value in (cfg.get('train_cfg') or {}).items() if str(key).startswith('max_'))
    rows = {
        'batch': f'{loader.get("batch_size", 1)} images a process' + (f', {steps} accumulated' if steps > 1 else ''),
        'optimiser': f'{optimiser.get("type", "-")}, rate {optimiser.get("lr", "-")}, decay {optimiser.get("weight_decay", 0)}',
        'length': length or '-',
        'seed': str((cfg.get('randomness') or {}).get('seed')),
        'image mean': _numbers_of(images.get('mean')),
        'image deviation': _numbers_of(images.get('std')),
        'channels': 'red, green, blue' if about.channels is None else str(about.channels),
    }
    if isinstance(made, Mapping):
        rows['made by'] = ', '.join(f'{name} {version}' for name, version in made.items() if name != 'commit')
    lines = [f'| {key} | {value} |' for key, value in rows.items()]
    return '\n'.join(['## Recipe', '', 'The whole config is in the checkpoint.', '', '| | |', '|---|---|', *lines, ''])


def _numbers_of(values: Sequence[float] | None) -> str:
    return ', '.join(f'{value:g}' for value in values) if values else 'as the pictures are'


def _names(names: Sequence[str]) -> str:
    """As Markdown shows them as they are."""
    return ', '.join(re.sub(r'([\\`*_\[\]|])', r'\\\1', escape(name, quote=False)) for name in names)


def _limits(about: About, source: Source, by_class: Mapping[str, float]) -> str:
    known = {name: value for name, value in by_class.items() if not np.isnan(value)}
    metric = 'IoU' if about.kind == 'segmentation' else f'AP of {"masks" if _task(about) == "image-segmentation" else "boxes"}'
    never = [name for name in known if not known[name]]
    rest = sorted((name for name in known if known[name]), key=lambda name: known[name])
    worst = rest[: min(WORST, len(rest) // 2)]
    lines = ['## Limits', '']
    if never:
        lines.append(f'- Never right, by {metric}: {_names(never)}.')
    if worst:
        lines.append(
            f'- Weakest classes, by {metric}: {", ".join(f"{_names([name])} {percent(known[name])}" for name in worst)}.'
        )
    unseen = [name for name in about.classes if name not in known]
    if unseen:
        lines.append(f'- Not measured, since no test picture has them: {_names(unseen)}.')
    if source.tested == source.trained:
        lines.append('- Measured on pictures of the same source as those it was trained on; others were not tried.')
    lines.append('- What people or places the pictures show, and whom a mistake would harm, is not known here: say it.')
    return '\n'.join([*lines, ''])
