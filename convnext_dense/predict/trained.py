"""Loading a trained model: from a work directory, a checkpoint, or a config and a checkpoint of any published layout."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmseg.models.segmentors import BaseSegmentor
from torch import nn

from convnext_dense.errors import InputError, last_line
from convnext_dense.expect import brief
from convnext_dense.predict.config_text import GIVE, check_types, dataset_meta, import_own, parse_config
from convnext_dense.predict.draw import palette_of
from convnext_dense.predict.exported_session import is_exported
from convnext_dense.predict.hub import SCHEME, from_hub
from convnext_dense.predict.model import Model, Options
from convnext_dense.predict.predictor import SCORE, chosen_classes
from convnext_dense.predict.tiles import OVERLAP, checked_tiling
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta, last_checkpoint
from convnext_dense.run.settle import settle_norms, settle_pretrained, use_tta
from convnext_dense.text import listed
from convnext_dense.weights.fetch import resolve
from convnext_dense.weights.load import check_whole_model, look_at_whole_model, open_whole_model
from convnext_dense.weights.open import about

AUTO_SIDE = 1024  # pixels of a tile


def load_trained(
    model: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    device: str = 'auto',
    precision: str = 'float32',
    batch_size: int = 1,
    score: float = SCORE,
    classes: Sequence[str] | None = None,
    tta: bool = False,
    tile: int | str | None = None,
    overlap: float = OVERLAP,
    bands: Sequence[int] | None = None,
) -> Model:
    """A trained segmentor or detector, in PyTorch; the arguments are those of `convnext_dense.load_model`.

    Raises:
        InputError: for a checkpoint without a config, weights that do not fit, and options that cannot be; an exported file.
    """
    if tile is not None and tta:
        raise InputError('tile and tta: expected one of the two, got both')
    tiling = None if tile is None else checked_tiling(AUTO_SIDE if tile == 'auto' else tile, overlap)
    config = None if checkpoint is None else os.fspath(model)
    given = os.fspath(model if checkpoint is None else checkpoint)
    if config is None and given.endswith('.py'):
        raise InputError(f'model: expected a checkpoint or a work directory, got the config {given} alone; give both')
    if given.lower().endswith(('.pt2', '.ts')):
        raise InputError(
            f'model: expected a checkpoint, or an exported file of .onnx or .xml, got {given}; PyTorch alone runs it'
        )
    if is_exported(given):
        raise InputError(
            f'model: expected a checkpoint or a work directory, got the exported file {given}; give its checkpoint'
        )
    path = checkpoint_path(given)
    content = look_at_whole_model(path)
    meta = content.get('meta') if isinstance(content.get('meta'), dict) else {}
    assert isinstance(meta, dict)
    cfg = load_config(config) if config is not None else _carried(path, meta)
    with about(path):
        _check_sections(cfg)
    scope = cfg.get('default_scope')
    settle_norms(cfg, 1)
    settle_pretrained(cfg, None, needed=False)
    on_meta = build_on_meta(cfg)
    if not isinstance(on_meta, (BaseSegmentor, BaseDetector)):
        raise InputError(f'model: expected a segmentor or a detector, got {type(on_meta).__name__}')
    check_whole_model(path, on_meta)
    if tta:
        use_tta(cfg)
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope(scope):
        warnings.simplefilter('ignore')  # of the libraries' own builders
        built = MODELS.build(copy.deepcopy(cfg.model))
    inner = built.module if tta else built
    inner.load_state_dict(open_whole_model(path).state)
    trained, palette = _classes_and_palette(cfg, meta, inner)
    chosen = chosen_classes(classes, trained)
    options = Options(_device(device), precision, batch_size, score, chosen, tiling, tile == 'auto', bands)
    return Model(built.eval(), cfg, trained, palette, options)


def checkpoint_path(given: str) -> str:
    """The local file of a checkpoint, a work directory's last one, a URL, or `hf-hub:ORGANISATION/NAME`."""
    return from_hub(given) if given.startswith(SCHEME) else resolve(last_checkpoint(given))


def _carried(path: str, meta: dict[str, Any]) -> Config:
    """The config in a checkpoint."""
    with about(path):
        text = meta.get('cfg') or meta.get('config')
        if not text:
            kind = 'mmengine writes it' if meta else 'it holds weights alone'
            raise InputError(
                f'expected a checkpoint with its config ({kind}), got one without; name the config before it: '
                'load_model(config, checkpoint), or --config FILE'
            )
        cfg = parse_config(text)
        _check_sections(cfg)
        others = import_own(cfg)
        data = cfg.get('test_dataloader')
        parts = [cfg.get('model'), cfg.get('tta_model'), cfg.get('tta_pipeline'), data.dataset.get('pipeline')]
        check_types([part for part in parts if part], cfg.get('default_scope'), others)
        return cfg


def _check_sections(cfg: Config) -> None:
    data = cfg.get('test_dataloader')
    if not isinstance(cfg.get('model'), dict) or not isinstance(data, dict) or not isinstance(data.get('dataset'), dict):
        raise InputError(f'its config: expected model and test_dataloader.dataset, got {listed(list(cfg))}; {GIVE}')


def _classes_and_palette(cfg: Config, meta: dict[str, Any], model: nn.Module) -> tuple[tuple[str, ...], Any]:
    """From the checkpoint, else the config, else its data set's class; colours are made where there are none."""
    head = getattr(model, 'decode_head', None) or getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    head = head[0] if isinstance(head, nn.ModuleList) else head or getattr(model, 'bbox_head', None)
    count = getattr(head, 'num_classes', None)
    data: Any = cfg.test_dataloader.dataset
    sources = [
        meta.get('dataset_meta') or {},
        {key.lower(): meta[key] for key in ('CLASSES', 'PALETTE') if meta.get(key)},  # before mmengine
        data.get('metainfo') or {},
        dataset_meta(data.get('type')),
    ]
    found = [source for source in sources if _is_names(source.get('classes'), count)]
    if not found and not count:
        raise InputError('model: expected classes in the checkpoint or the config, found none; add metainfo to its data set')
    source: Any = found[0] if found else dict(classes=[f'class {i}' for i in range(count or 0)])
    return tuple(source['classes']), palette_of(source.get('palette'), len(source['classes']))


def _is_names(names: Any, count: int | None) -> bool:
    named = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return named and count in (None, len(names))


def _device(name: str) -> torch.device:
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            f'device: expected cpu, or cuda or mps where they are there, got {brief(name)} ({last_line(error)})'
        ) from error
    return device
