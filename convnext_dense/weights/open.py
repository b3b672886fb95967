"""Open files of weights safely: no code in them is run, and a broken one gets one clear line.

Limits: a file may unpack to at most `MAX_BYTES`, and to at most twice its size where it is compressed (PyTorch's own files
are not). A safetensors header may have `MAX_HEADER` bytes.
"""

from __future__ import annotations

import json
import os
import pickle
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convnext_dense.errors import InputError, reason
from convnext_dense.text import listed

MAX_BYTES = 32 * 2**30
MAX_HEADER = 100 * 2**20
WRAPPERS = ('model', 'state_dict', 'model_ema', 'state_dict_ema', 'module', 'teacher')
AGAIN = 'copy or download it again'
INDEX = '.index.json'


def open_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a local .pth, .pt, .bin or .safetensors file, of a sharded set's index, or of a folder with one of them.

    What a file is goes by its first bytes, not its name.

    Raises:
        InputError: for a missing, empty, truncated or foreign file, one that cannot be read, one that unpacks to more than the
            limits, and one that holds anything but plain values, tensors and the types that training checkpoints hold.
    """
    path = as_path(path)
    if kind_of_path(path) == 'folder':
        path = _in_folder(path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # PyTorch's, of pickle protocols and of tensors that are refused later
        return _open_shards(path) if path.name.endswith(INDEX) else _open_file(path)


def as_path(path: str | os.PathLike[str]) -> Path:
    """The path that a user gave; anything else is refused."""
    if not isinstance(path, (str, Path)) or not str(path):
        raise InputError(f'checkpoint: expected a path, got {path!r}')
    return Path(path)


def kind_of_path(path: str | os.PathLike[str]) -> str:
    """What is there: 'file', 'folder', 'device' (a pipe, too) or 'nothing'."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 'nothing'
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a NUL in it, a closed folder
        raise InputError(f'checkpoint: expected a file, got {shown(path)}: {reason(error)}; check the path') from error
    return 'file' if stat.S_ISREG(mode) else 'folder' if stat.S_ISDIR(mode) else 'device'


def shown(path: object) -> str:
    """A path for a message, on one line."""
    return str(path) if str(path).isprintable() else repr(str(path))


@contextmanager
def about(path: object) -> Iterator[None]:
    """Begin the errors inside with the path of the file that they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f'checkpoint {shown(path)}: {error}') from error


def _open_file(path: Path) -> dict[str, Any]:
    there = kind_of_path(path)
    if there != 'file':
        got = {'nothing': 'which is not there', 'folder': 'which is a folder', 'device': 'which is a device or a pipe'}[there]
        raise InputError(f'checkpoint: expected a file, got {shown(path)} {got}; check the path')
    with about(path):
        try:
            size = path.stat().st_size
            with open(path, 'rb') as file:
                start = file.read(512)
        except OSError as error:
            raise InputError(f'expected a file that can be read, got: {reason(error)}; check its permissions') from error
        if size == 0:
            raise InputError(f'expected weights, got an empty file; {AGAIN}')
        if _is_safetensors(start, size):  # first: the length at its beginning may look like anything
            return _open_safetensors(path)
        if start.lstrip()[:1] == b'<':
            raise InputError(f'expected weights, got a web page (it starts with {start[:15]!r}); download the file itself')
        if path.suffix == '.safetensors':
            limit, length = min(size, MAX_HEADER), int.from_bytes(start[:8], 'little')
            raise InputError(f'expected a safetensors header of at most {limit} bytes, got one that says {length}; {AGAIN}')
        return _open_torch(path, start, size)


def _in_folder(folder: Path) -> Path:
    """The weights in a folder as transformers writes it."""
    names = ('model.safetensors', f'model.safetensors{INDEX}', 'pytorch_model.bin', f'pytorch_model.bin{INDEX}')
    found = next((folder / name for name in names if kind_of_path(folder / name) == 'file'), None)
    if found is None:
        raise InputError(f'checkpoint: expected a file, or a folder with one of {", ".join(names)}; got {shown(folder)}')
    return found


def _is_safetensors(start: bytes, size: int) -> bool:
    """A length of 8 bytes, and a JSON object of that length."""
    header = int.from_bytes(start[:8], 'little')
    return start[8:9] == b'{' and 8 + header <= size and header <= MAX_HEADER


def _open_safetensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except Exception as error:  # a broken header can raise anything
        raise InputError(_unreadable('safetensors', reason(error))) from error


def _open_shards(index: Path) -> dict[str, Any]:
    """The tensors that a sharded set's index names, each from the file that it names."""
    with about(index):
        try:
            names = json.loads(index.read_text())['weight_map']
            files = sorted(set(names.values()))
            plain = all(isinstance(text, str) for text in (*names, *files))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = f'{type(error).__name__}: {reason(error)}'
            raise InputError(f'expected an index with weight_map, got one that cannot be read ({why}); {AGAIN}') from error
        if not files:
            raise InputError(f'expected an index with tensors in weight_map, got none; {AGAIN}')
        if not plain or any(Path(file).name != file or file == '..' or file.endswith(INDEX) for file in files):
            raise InputError(f'expected files beside the index, got {listed(files)}')
        state: dict[str, Any] = {}
        lacking, beyond = [], []
        for file in files:
            content = _open_file(index.parent / file)
            wanted = {name for name in names if names[name] == file}
            lacking += sorted(wanted - set(content))
            beyond += sorted(set(content) - wanted)
            state |= {name: content[name] for name in wanted & set(content)}
        if lacking:
            raise InputError(
                f'{len(lacking)} of its tensors are in none of its files, or not in those that it names: {listed(lacking)}; '
                f'{AGAIN}'
            )
        if beyond:
            raise InputError(f'its files hold {len(beyond)} tensors that it does not name: {listed(beyond)}; {AGAIN}')
    return state


def _open_torch(path: Path, start: bytes, size: int) -> dict[str, Any]:
    from convnext_dense.weights.checkpoint_types import allow_checkpoint_types

    try:
        packed = zipfile.is_zipfile(path)
        if packed:
            _check_sizes(path, size)
            _check_sums(path)
        allow_checkpoint_types()  # again: a `safe_globals` context elsewhere takes them back when it ends
        content = torch.load(path, map_location='cpu', weights_only=True, mmap=packed)
    except InputError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        raise InputError(_why_refused(start, error)) from error
    if not isinstance(content, Mapping):
        raise InputError(f'expected a dict of tensors, got {type(content).__name__}')
    return dict(content)


def _check_sizes(path: Path, size: int) -> None:
    """Stop at an archive that would unpack to far more than it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # a broken directory can raise anything
        raise InputError(_unreadable('PyTorch', reason(error))) from error
    unpacked = sum(entry.file_size for entry in entries)
    compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    limit = min(MAX_BYTES, 2 * size) if compressed else MAX_BYTES
    if unpacked > limit:
        raise InputError(f'expected at most {limit:,} bytes unpacked, got {unpacked:,} in a file of {size:,}; not opened')


def _check_sums(path: Path) -> None:
    """Stop at a record whose content is not that of its checksum; where none fits, the file was written without them."""
    wrong, right = [], 0
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                try:
                    with archive.open(entry) as record:
                        while record.read(2**20):
                            pass
                    right += entry.file_size > 0
                except zipfile.BadZipFile as error:
                    if 'CRC' not in str(error):
                        raise
                    wrong.append(entry.filename)
    except Exception as error:  # a broken record can raise anything
        raise InputError(_unreadable('PyTorch', reason(error))) from error
    if wrong and right:
        raise InputError(f'expected content that fits its checksums, got a damaged record: {listed(wrong, 3)}; {AGAIN}')


def _unreadable(name: str, why: object) -> str:
    return f'expected a whole {name} file, got one that cannot be read ({why}); {AGAIN}'


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
    later = next((line.strip() for line in lines if 'Unsupported operand' in line), None)
    if later:  # torch.save writes protocol 2
        return f'expected the pickle protocol of torch.save, got another ({later}); write it again by torch.save(content, path)'
    return _unreadable('PyTorch', lines[0])


def state_dict_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors in an opened checkpoint, out of its wrappers and of DistributedDataParallel's `module.`.

    Raises:
        InputError: for a name that is no string, a weight that is no tensor, and a tensor without plain numbers in memory.
    """
    if not isinstance(content, Mapping):
        raise InputError(f'expected a dict of tensors, got {type(content).__name__}')
    for _ in WRAPPERS:
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = next(filter(None, inner), inner[0])  # the first with something in it
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    wrong = next((name for name in state if not isinstance(name, str)), None)
    if wrong is not None:
        raise InputError(f'expected names of tensors that are strings, got {wrong!r}')
    for name, value in content.items():
        ours = isinstance(name, str) and name.endswith(('.weight', '.bias', '.gamma', '.beta', '.running_mean', '.running_var'))
        if ours and name not in state:
            raise InputError(f'{name}: expected a tensor, got {type(value).__name__}')
    for name, value in state.items():
        check_plain(name, value)
    if all(name.startswith('module.') for name in state):
        state = {name.removeprefix('module.'): value for name, value in state.items()}
    return state


def check_plain(name: str, value: Tensor) -> None:
    """Stop at a tensor that is not plain numbers in memory: sparse, quantised, nested, without values, or with too few."""
    if type(value) not in (Tensor, nn.Parameter):
        got = f'a {type(value).__name__}'
    elif value.is_quantized:
        got = f'a quantised one ({value.dtype})'
    elif value.is_nested or value.layout != torch.strided:
        got = f'{"a nested one" if value.is_nested else "one"} of layout {value.layout}'
    elif value.device.type == 'meta':
        got = 'one on the meta device, which has no values'
    elif value.numel() * value.element_size() > value.untyped_storage().nbytes():
        stored = value.untyped_storage().nbytes() // value.element_size()
        got = f'one of shape {tuple(value.shape)} with {stored} values'
    else:
        return
    raise InputError(f'{listed([name])}: expected a dense tensor with its values, got {got}; save plain weights')
