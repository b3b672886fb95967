"""Open a checkpoint safely, recognise its layout, load it strictly, report N of N.

The one layout known so far is the official release's: `{'model': {...}}` with the backbone's own names, plus a
classification head (`norm.*`, `head.*`) that dense models leave out. The output norms `norm0..norm3` are no part of
pre-trained files and stay as initialised.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.models.convnext import ARCHS, Arch, ConvNeXt
from convnext_dense.text import listed

StateDict = dict[str, Tensor]
WRAPPERS = ('model', 'state_dict')
LEFT_OUT = ('norm.', 'head.')  # the classification head of the official files
INITIALISED = ('norm0.', 'norm1.', 'norm2.', 'norm3.')


def open_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a local .pth file, opened with weights only: no code in it is run.

    Raises:
        InputError: for a missing, empty, truncated or foreign file, and for one that holds anything but plain values, tensors
            and the types that a checkpoint of mmengine holds.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'checkpoint: expected a file, got {path} which is not there; check the path')
    if path.stat().st_size == 0:
        raise InputError(f'checkpoint {path}: expected weights, got an empty file; copy or download it again')
    from convnext_dense.training.checkpoint import allow_checkpoint_types

    try:
        allow_checkpoint_types()  # again: a `safe_globals` context elsewhere takes them back when it ends
        content = torch.load(path, map_location='cpu', weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a broken pickle can raise anything
        raise InputError(f'checkpoint {path}: {_why_refused(path, error)}') from error
    if not isinstance(content, dict):
        raise InputError(f'checkpoint {path}: expected a dict of tensors, got {type(content).__name__}')
    return content


def _why_refused(path: Path, error: Exception) -> str:
    with open(path, 'rb') as file:
        start = file.read(4)
    if start[:2] != b'PK' and start[:1] != b'\x80':
        return f'expected a PyTorch file, got something else (it starts with {start!r}); check that this is the right file'
    lines = str(error).strip().splitlines() or [type(error).__name__]
    refused = [line for line in lines if 'Unsupported' in line or 'Trying to' in line or 'Can only' in line]
    if isinstance(error, pickle.UnpicklingError) and refused:
        what = refused[0].strip().split('. ')[0]
        return f'expected tensors and plain values only, got a pickle that would run code ({what}); not opened'
    return f'expected a whole PyTorch file, got one that cannot be read ({lines[0]}); copy or download it again'


def state_dict_of(content: dict[str, Any]) -> StateDict:
    """The state dict in an opened checkpoint, out of the wrappers `model` and `state_dict`."""
    for key in WRAPPERS:
        if isinstance(content.get(key), dict):
            content = content[key]
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def resolve(checkpoint: str) -> str:
    """A local path for a path or an http(s) URL; a URL is downloaded into torch's hub cache, in one move, once.

    Raises:
        InputError: if the download fails, with the two ways around it.
    """
    if urlparse(checkpoint).scheme not in ('http', 'https'):
        return checkpoint
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    target = folder / Path(urlparse(checkpoint).path).name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(checkpoint, str(target))
        except (URLError, OSError) as error:
            reason = getattr(error, 'reason', None) or error
            raise InputError(
                f'pre-trained weights: could not download {checkpoint} ({reason}); '
                'pass a local copy with --pretrained FILE, or start from scratch with --pretrained none'
            ) from error
    return str(target)


@dataclass(frozen=True)
class Match:
    """How a state dict fits a backbone."""

    tensors: StateDict
    missing: list[str]
    unexpected: list[str]
    shapes: list[str]
    left_out: list[str]
    total: int

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.shapes)


def match_backbone(state: StateDict, backbone: ConvNeXt, prefix: str = '') -> Match:
    """Sort a state dict's entries by what becomes of them in `backbone`. Nothing is loaded."""
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    own = backbone.state_dict()
    wanted = {name for name in own if not name.startswith(INITIALISED)}
    # A backbone with fewer out_indices has fewer output norms: the file's others are left out.
    left_out = [name for name in state if name.startswith(LEFT_OUT) or (name.startswith(INITIALISED) and name not in own)]
    unexpected = [name for name in state if name not in own and name not in left_out]
    shapes = [
        f'{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}'
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    tensors = {name: value for name, value in state.items() if name in own}
    return Match(tensors, sorted(wanted - set(state)), unexpected, shapes, left_out, len(wanted))


def arch_of(state: StateDict) -> str | None:
    """The name in `ARCHS` that a state dict with official names was made from."""
    dims, depths = [], []
    for stage in range(4):
        rows = [name for name in state if name.startswith(f'stages.{stage}.') and name.endswith('.dwconv.weight')]
        if not rows:
            return None
        depths.append(len(rows))
        dims.append(state[rows[0]].shape[0])
    found = Arch(tuple(depths), tuple(dims))  # type: ignore[arg-type]
    return next((name for name, arch in ARCHS.items() if arch == found), None)


def match_or_stop(backbone: ConvNeXt, checkpoint: str, prefix: str = '') -> tuple[Match, str]:
    """How a pre-trained file (path or URL) fits the backbone, and its local path; `prefix` is cut from the file's names.

    Raises:
        InputError: if anything but output norms is missing, a shape differs, or a name is no known head.
    """
    path = resolve(checkpoint)
    state = state_dict_of(open_checkpoint(path))
    match = match_backbone(state, backbone, prefix)
    if not match.fits:
        name = arch_of({key.removeprefix(prefix): value for key, value in state.items()})
        hint = f"; the file fits arch='{name}'" if name and ARCHS[name] != backbone.arch else ''
        raise InputError(f'pre-trained weights {path} do not fit {_describe(backbone)}: {_misfit(match)}{hint}')
    return match, path


def load_pretrained(backbone: ConvNeXt, checkpoint: str, prefix: str = '') -> None:
    """Load pre-trained weights into the backbone, all of them or none, and log "loaded N of N".

    Raises:
        InputError: as `match_or_stop`.
    """
    match, path = match_or_stop(backbone, checkpoint, prefix)
    backbone.load_state_dict(match.tensors, strict=False)
    norms = sorted({name.split('.')[0] for name in backbone.state_dict() if name.startswith(INITIALISED)})
    fresh = [norm for norm in norms if f'{norm}.weight' not in match.tensors]
    loaded = sum(not name.startswith(INITIALISED) for name in match.tensors)
    parts = [f'backbone: loaded {loaded} of {match.total} (layout: official) from {path}']
    if fresh:
        parts.append(f'initialised: {", ".join(fresh)}')
    if match.left_out:
        parts.append(f'left out: {", ".join(sorted({name.split(".")[0] for name in match.left_out}))}')
    print_log('; '.join(parts), logger='current')


def check_whole_model(path: str | os.PathLike[str], model: nn.Module, classes: Sequence[str] | None = None) -> None:
    """Stop where a checkpoint of a whole model (as training writes it) does not fit `model` in every tensor.

    With `classes`, those that the checkpoint says it was trained on must be the same, in the same order.

    Raises:
        InputError: with what is missing, unexpected and of another shape, or with both lists of classes.
    """
    content = open_checkpoint(path)
    state = state_dict_of(content)
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    own = model.state_dict()
    shapes = [
        f'{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}'
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    match = Match({}, sorted(set(own) - set(state)), sorted(set(state) - set(own)), shapes, [], len(own))
    if not match.fits:
        raise InputError(
            f'checkpoint {path}, {_kind(state)}, does not fit this {type(model).__name__}: {_misfit(match)}; '
            'use the config that it was trained with'
        )
    meta = content.get('meta')
    trained = (meta.get('dataset_meta') or {}).get('classes') if isinstance(meta, dict) else None
    if classes and trained and list(trained) != list(classes):
        raise InputError(
            f'checkpoint {path} was trained on other classes than the data has: expected {listed(classes)}; got '
            f'{listed(trained)}; take the data that it was trained on, or its weights alone with --load-from in training'
        )


def _kind(state: StateDict) -> str:
    """What a whole model's checkpoint holds, in a word."""
    parts = {name.split('.')[0] for name in state}
    kinds = (('decode_head', 'a segmentor'), ('roi_head', 'a detector with RoI heads'), ('bbox_head', 'a detector'))
    return next((kind for part, kind in kinds if part in parts), 'no segmentor or detector')


def _describe(backbone: ConvNeXt) -> str:
    name = next((name for name, arch in ARCHS.items() if arch == backbone.arch), None)
    return f"ConvNeXt(arch='{name}')" if name else f'ConvNeXt({backbone.arch})'


def _misfit(match: Match) -> str:
    rows = (('missing', match.missing), ('unexpected', match.unexpected), ('of another shape', match.shapes))
    parts = []
    for what, names in rows:
        if names:
            parts.append(f'{len(names)} {what}: {listed(names)}')
    return '; '.join(parts)
