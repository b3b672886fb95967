"""Where weights come from: a path, a URL or a hub's name, as a local path."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import ParseResult, urlparse

import torch
from mmengine.logging import print_log

from convnext_dense.errors import InputError, reason
from convnext_dense.text import listed
from convnext_dense.weights.open import as_path, kind_of_path, open_checkpoint, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Names under which many repositories keep their weights: in torch's cache they get the URL's digest before them.
COMMON = ('model', 'pytorch_model', 'checkpoint', 'weights', 'latest', 'best')
DINOV3 = 'https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/'


def resolve(checkpoint: str | os.PathLike[str]) -> str:
    """A local path for a path, an http(s) URL, `hf-hub:ORGANISATION/NAME` or `timm:NAME`.

    A URL is downloaded into torch's hub cache, whole and once; the hubs go through their own libraries and caches.

    Raises:
        InputError: for another scheme, if the download fails or is no weights, or the library is not installed, with the ways
            around it; for a file of DINOv3's that is not there, with where it is given out.
    """
    path = as_path(checkpoint)
    checkpoint = checkpoint if isinstance(checkpoint, str) else str(path)
    for scheme, fetch in (('hf-hub:', _from_hub), ('timm:', _from_timm)):
        if checkpoint.startswith(scheme):
            name = checkpoint.removeprefix(scheme)
            if not name.strip():
                raise InputError(f'{checkpoint}: expected a name after {scheme}')
            return fetch(checkpoint, name)
    try:
        url = urlparse(checkpoint)
    except ValueError as error:
        raise InputError(f'pre-trained weights: expected a path or a URL, got {shown(checkpoint)}: {reason(error)}') from error
    if url.scheme in ('http', 'https'):
        return _from_url(checkpoint, url)
    if '://' in checkpoint:
        raise InputError(
            f'pre-trained weights: expected a path, or a name that begins with http://, https://, hf-hub: or timm:; '
            f'got {shown(checkpoint)}'
        )
    if path.name.startswith('dinov3_') and kind_of_path(path) == 'nothing':
        raise InputError(
            f'pre-trained weights: expected the file {shown(checkpoint)}, which is not there; accept its licence at {DINOV3}, '
            'download it and name it with --pretrained FILE, or start from scratch with --pretrained none'
        )
    return checkpoint


def open_resolved(checkpoint: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """The local path of a checkpoint and what it holds.

    Raises:
        InputError: as `resolve` and `open_checkpoint`; for a broken download with its URL.
    """
    path = resolve(checkpoint)
    with downloaded(checkpoint):
        return path, open_checkpoint(path)


@contextmanager
def downloaded(checkpoint: object) -> Iterator[None]:
    """Add to the errors inside where the file came from."""
    try:
        yield
    except InputError as error:
        if str(checkpoint).startswith(('http://', 'https://')):
            raise InputError(f'{error}; it was downloaded from {shown(checkpoint)}: delete it if it is broken') from error
        raise


def _from_url(checkpoint: str, url: ParseResult) -> str:
    name = Path(url.path).name
    if not url.netloc or name in ('', '..'):
        raise InputError(f'pre-trained weights: expected a URL of a file, got {shown(checkpoint)}')
    if name.split('.')[0] in COMMON:
        name = f'{hashlib.sha256(checkpoint.encode()).hexdigest()[:8]}-{name}'
    target = Path(torch.hub.get_dir()) / 'checkpoints' / name
    if kind_of_path(target) != 'nothing':
        return str(target)
    part = target.with_name(f'{name}.{os.getpid()}')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _one_process(target.with_name(f'{name}.lock')):
            if not target.exists():
                torch.hub.download_url_to_file(checkpoint, str(part), progress=sys.stderr.isatty())
                open_checkpoint(part)  # a server may break off, or answer with a page
                os.replace(part, target)
    except Exception as error:
        raise _offline(checkpoint, getattr(error, 'reason', None) or error) from error
    finally:
        with suppress(OSError):  # it was moved, or never made
            part.unlink()
    return str(target)


@contextmanager
def _one_process(lock: Path) -> Iterator[None]:
    """One process of this machine is within at a time: of those that a launcher starts, one downloads and the others wait."""
    if fcntl is None:
        yield
        return
    with _locked(lock):
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    while True:
        with open(lock, 'w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print_log(f'waiting for another process, which downloads {lock.with_suffix("")}', logger='current')
                fcntl.flock(file, fcntl.LOCK_EX)
            # The one before removes the file: whoever waited for that one locks what nobody else will find.
            if lock.exists() and os.fstat(file.fileno()).st_ino == lock.stat().st_ino:
                yield
                return


def _offline(checkpoint: str, why: object) -> InputError:
    return InputError(
        f'pre-trained weights: could not download {shown(checkpoint)} ({reason(why)}); '
        'pass a local copy with --pretrained FILE (a whole model: --load-from FILE), '
        'or start from scratch with --pretrained none (in a stock config: checkpoint=FILE in model.backbone.init_cfg, or None)'
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
    except Exception:  # no such tag, or no name at all
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
