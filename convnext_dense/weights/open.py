"""Open weights from a path, a URL or a hub, safely: no code in a file is run, and a broken one gets one clear line.

Limits: a file may unpack to at most `MAX_BYTES`, and to at most twice its size where it is compressed (PyTorch's own files
are not). A safetensors header may have `MAX_HEADER` bytes.
"""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.text import listed

MAX_BYTES = 32 * 2**30
MAX_HEADER = 100 * 2**20
WRAPPERS = ('model', 'state_dict', 'model_ema', 'state_dict_ema', 'module', 'teacher')
AGAIN = 'copy or download it again'


def open_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a local .pth, .pt, .bin or .safetensors file, of a sharded set's index, or of a folder with one of them.

    What a file is goes by its first bytes, not its name.

    Raises:
        InputError: for a missing, empty, truncated or foreign file, one that unpacks to more than the limits, and one that
            holds anything but plain values, tensors and the types that training checkpoints hold.
    """
    path = Path(path)
    if path.is_dir():
        path = _in_folder(path)
    if not path.is_file():
        raise InputError(f'checkpoint: expected a file, got {path} which is not there; check the path')
    size = path.stat().st_size
    if size == 0:
        raise InputError(f'checkpoint {path}: expected weights, got an empty file; {AGAIN}')
    with open(path, 'rb') as file:
        start = file.read(512)
    if path.name.endswith('.index.json'):
        return _open_shards(path)
    if start.lstrip()[:1] == b'<':
        raise InputError(
            f'checkpoint {path}: expected weights, got a web page (it starts with {start[:15]!r}); download the file itself'
        )
    if path.suffix == '.safetensors' or _is_safetensors(start, size):
        return _open_safetensors(path, start, size)
    return _open_torch(path, start, size)


def _in_folder(folder: Path) -> Path:
    """The weights in a folder as transformers writes it."""
    names = ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json')
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f'checkpoint: expected a file, or a folder with one of {", ".join(names)}; got {folder}')
    return found


def _is_safetensors(start: bytes, size: int) -> bool:
    return start[8:9] == b'{' and int.from_bytes(start[:8], 'little') <= min(size, MAX_HEADER)


def _open_safetensors(path: Path, start: bytes, size: int) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = int.from_bytes(start[:8], 'little')
    if len(start) < 8 or header > min(size - 8, MAX_HEADER):
        raise InputError(
            f'checkpoint {path}: expected a safetensors header of at most {min(size, MAX_HEADER)} bytes, '
            f'got one that says {header}; {AGAIN}'
        )
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f'checkpoint {path}: {_unreadable("safetensors", error)}') from error


def _open_shards(index: Path) -> dict[str, Any]:
    """Every file that a sharded set's index names."""
    try:
        names = json.loads(index.read_text())['weight_map']
        files = sorted(set(names.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f'checkpoint {index}: expected an index with weight_map, got one that cannot be read ({error!r})'
        ) from error
    if any(Path(file).name != file for file in files):
        raise InputError(f'checkpoint {index}: expected files beside the index, got {listed(files)}')
    state: dict[str, Any] = {}
    for file in files:
        state |= open_checkpoint(index.parent / file)
    lacking = sorted(set(names) - set(state))
    if lacking:
        raise InputError(
            f'checkpoint {index}: {len(lacking)} of its tensors are in none of its files: {listed(lacking)}; {AGAIN}'
        )
    return state


def _open_torch(path: Path, start: bytes, size: int) -> dict[str, Any]:
    from convnext_dense.training.checkpoint import allow_checkpoint_types

    packed = zipfile.is_zipfile(path)
    if packed:
        _check_sizes(path, size)
    try:
        allow_checkpoint_types()  # again: a `safe_globals` context elsewhere takes them back when it ends
        content = torch.load(path, map_location='cpu', weights_only=True, mmap=packed)
    except Exception as error:  # a broken pickle can raise anything
        raise InputError(f'checkpoint {path}: {_why_refused(start, error)}') from error
    if not isinstance(content, Mapping):
        raise InputError(f'checkpoint {path}: expected a dict of tensors, got {type(content).__name__}')
    return dict(content)


def _check_sizes(path: Path, size: int) -> None:
    """Stop at an archive that would unpack to far more than it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f'checkpoint {path}: {_unreadable("PyTorch", error)}') from error
    unpacked = sum(entry.file_size for entry in entries)
    compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    limit = min(MAX_BYTES, 2 * size) if compressed else MAX_BYTES
    if unpacked > limit:
        raise InputError(
            f'checkpoint {path}: expected at most {limit:,} bytes unpacked, got {unpacked:,} in a file of {size:,}; not opened'
        )


def _unreadable(kind: str, why: object) -> str:
    return f'expected a whole {kind} file, got one that cannot be read ({why}); {AGAIN}'


def _why_refused(start: bytes, error: Exception) -> str:
    if start[:2] != b'PK' and start[:1] != b'\x80':
        return f'expected a PyTorch or safetensors file, got something else (it starts with {start[:4]!r}); check the file'
    lines = str(error).strip().splitlines() or [type(error).__name__]
    words = ('Unsupported global', 'Unsupported class', 'Unsupported getattr', 'Trying to', 'Can only')
    refused = [line for line in lines if any(word in line for word in words)]
    if start[:1] == b'\x80' and any('Unsupported operand' in line for line in lines):
        return 'expected a PyTorch file, got a plain pickle, which could run code; not opened'
    if isinstance(error, pickle.UnpicklingError) and refused:
        what = refused[0].strip().split('. ')[0]
        return f'expected tensors and plain values only, got a pickle that would run code ({what}); not opened'
    return _unreadable('PyTorch', lines[0])


def state_dict_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors in an opened checkpoint, out of its wrappers and of DistributedDataParallel's `module.`."""
    for _ in WRAPPERS:
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None or not inner:
            break
        content = inner
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if state and all(name.startswith('module.') for name in state):
        state = {name.removeprefix('module.'): value for name, value in state.items()}
    return state


def resolve(checkpoint: str) -> str:
    """A local path for a path, an http(s) URL, `hf-hub:ORGANISATION/NAME` or `timm:NAME`.

    A URL is downloaded into torch's hub cache, in one move, once; the hubs go through their own libraries and caches.

    Raises:
        InputError: if the download fails or the library is not installed, with the ways around it.
    """
    for scheme, fetch in (('hf-hub:', _from_hub), ('timm:', _from_timm)):
        if checkpoint.startswith(scheme):
            return fetch(checkpoint, checkpoint.removeprefix(scheme))
    if urlparse(checkpoint).scheme not in ('http', 'https'):
        return checkpoint
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    target = folder / Path(urlparse(checkpoint).path).name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(checkpoint, str(target))
        except (URLError, OSError) as error:
            raise _offline(checkpoint, getattr(error, 'reason', None) or error) from error
    return str(target)


def _offline(checkpoint: str, reason: object) -> InputError:
    first = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
    return InputError(
        f'pre-trained weights: could not download {checkpoint} ({first}); '
        'pass a local copy with --pretrained FILE, or start from scratch with --pretrained none'
    )


def _from_hub(checkpoint: str, name: str) -> str:
    """A repository of the Hugging Face hub, as a folder in its cache."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(
            f'{checkpoint}: expected the package huggingface_hub, which is not installed; pip install it'
        ) from error
    try:
        return snapshot_download(name, allow_patterns=['*.safetensors', '*.bin', '*.json'])
    except Exception as error:  # its own errors, those of the network, and a wrong name
        raise _offline(checkpoint, error) from error


def _from_timm(checkpoint: str, name: str) -> str:
    """A pre-trained model of timm, as the file in its cache."""
    try:
        import timm
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise InputError(f'{checkpoint}: expected the package timm, which is not installed; pip install timm') from error
    try:
        pretrained = timm.get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        pretrained = None
    if pretrained is None or not (pretrained.hf_hub_id or pretrained.url):
        known = listed(timm.list_models(f'{name.split(".")[0]}*', pretrained=True)) or 'none of that name'
        raise InputError(f'{checkpoint}: expected a pre-trained model of timm; it has {known}')
    if not pretrained.hf_hub_id:
        return resolve(pretrained.url)
    try:
        hf_hub_download(pretrained.hf_hub_id, 'config.json')  # beside it: the image mean and std
        return hf_hub_download(pretrained.hf_hub_id, 'model.safetensors')
    except Exception as error:
        raise _offline(checkpoint, error) from error
