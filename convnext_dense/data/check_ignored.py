"""Is what is padded and annotated as nothing ignored everywhere: in the batches, by the heads' losses and by the metrics?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from convnext_dense.data.pipeline import steps
from convnext_dense.errors import InputError
from convnext_dense.expect import brief

HEADS = ('decode_head', 'auxiliary_head')
IGNORED = 255  # by mmseg's preprocessor, heads and metrics, where nothing else is said


def heads(cfg: Config) -> list[tuple[str, dict[str, Any]]]:
    """The heads of a segmentor, each with its place in the config."""
    model = cfg.get('model')
    found = []
    for name in HEADS:
        node = model.get(name) if isinstance(model, dict) else None
        listed = node if isinstance(node, (list, tuple)) else [node]
        found += [(f'model.{name}', one) for one in listed if isinstance(one, dict)]
    return found


def check_ignored(cfg: Config, names: Sequence[str]) -> None:
    """Stop where batches are padded with what a head learns, or a metric ignores another value than the head.

    Raises:
        InputError: with both values.
    """
    found = heads(cfg)
    padding = cfg.model.get('data_preprocessor') if found else None
    if isinstance(padding, dict) and ('seg_pad_val' in padding or str(padding.get('type')).endswith('SegDataPreProcessor')):
        padded = padding.get('seg_pad_val', IGNORED)
        for where, head in found:
            ignored = head.get('ignore_index', IGNORED)
            if ignored is not None and padded != ignored:
                raise InputError(
                    f'model.data_preprocessor.seg_pad_val: expected {brief(ignored)}, the ignore_index of {where}, since what '
                    f'is padded is no class; got {brief(padded)}; set it to {brief(ignored)}'
                )
    judged = [(where, head) for where, head in found if where == 'model.decode_head'][-1:]  # of a cascade the last predicts
    for where, head in judged:
        ignored = head.get('ignore_index', IGNORED)
        for name in (name.replace('dataloader', 'evaluator') for name in names):
            metrics = [node for node in steps(cfg.get(name)) if str(node.get('type')).rpartition('.')[2] == 'IoUMetric']
            for metric in metrics:
                given = metric.get('ignore_index', IGNORED)
                if ignored is not None and given != ignored:
                    raise InputError(
                        f'{name}: expected ignore_index {brief(ignored)} in IoUMetric, as of {where}; got {brief(given)}; '
                        'set both to the same'
                    )
