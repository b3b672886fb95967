"""A model as a static site: a page that runs it in the browser, with nothing fetched from another server."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError
from convnext_dense.export.web_runtime import FILES
from convnext_dense.files import check_folder, sha256
from convnext_dense.text import listed

PAGE = Path(__file__).with_name('site')
MODEL, META, INDEX = 'model.onnx', 'model.json', 'index.html'
PARTIAL = '.partial_'  # of the folder within the site in which a new one is made
NEEDED = ('task', 'classes', 'palette', 'input', 'outputs')


def check_site_folder(option: str, folder: str | os.PathLike[str]) -> None:
    """Stop where a site cannot be written: the folder is new, empty, or holds an earlier site and nothing else."""
    path = Path(folder)
    check_folder(option, os.fspath(folder))
    if not path.is_dir():
        return
    foreign = sorted(set(_files(path)) - set(_own(path)))
    if foreign:
        raise InputError(
            f'{option}: expected a new or empty folder, or an earlier site, got {folder}, which holds {listed(foreign)}; '
            'name another'
        )


def is_site(folder: str | os.PathLike[str]) -> bool:
    return all(Path(folder, name).is_file() for name in (INDEX, META, MODEL))


def write_site(
    folder: str | os.PathLike[str],
    onnx_file: str | os.PathLike[str],
    meta: Mapping[str, Any],
    runtime_folder: str | os.PathLike[str],
) -> int:
    """Write the page, onnxruntime-web, the model and model.json into `folder`; the site's size in bytes.

    All is written before any file of an earlier site is replaced; where it fails, that one stays as it was, and nothing else.

    Args:
        folder: new, empty, or of an earlier site.
        onnx_file: takes pictures of bytes, with normalising inside; it is copied.
        meta: what the file says about itself.
        runtime_folder: what `find_runtime` gives.

    Raises:
        InputError: for another folder, and a model that takes no pictures of bytes.
        OSError: where the disk is full.
    """
    check_site_folder('--out', folder)
    _check_meta(meta)
    site, made = Path(os.path.abspath(folder)), not os.path.lexists(folder)
    try:
        site.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=site, ignore_cleanup_errors=True) as partial:
            _fill(Path(partial), Path(onnx_file), meta, Path(runtime_folder))
            return _put_in_place(Path(partial), site)
    except BaseException:
        if made:
            shutil.rmtree(site, ignore_errors=True)
        raise


def _check_meta(meta: Mapping[str, Any]) -> None:
    missing = [name for name in NEEDED if not meta.get(name)]
    if missing:
        raise InputError(f'--to web: expected a model that tells about itself, got one without {listed(missing)}')
    given = meta['input']
    if meta.get('raw') or (given.get('layout'), given.get('type'), given.get('colour')) != ('BHWC', 'uint8', 'RGB'):
        raise InputError('--to web: expected a model of pictures of bytes, got one that takes prepared values; leave --raw out')


def _fill(partial: Path, onnx_file: Path, meta: Mapping[str, Any], runtime_folder: Path) -> None:
    (partial / 'onnxruntime').mkdir()
    for name in FILES:
        _copy(runtime_folder / name, partial / 'onnxruntime' / name)
    for name in _files(PAGE):
        _copy(PAGE / name, partial / name)
    _copy(onnx_file, partial / MODEL)
    about = {**meta, 'file': MODEL, 'bytes': onnx_file.stat().st_size, 'version': _digest(onnx_file)}
    about['site'] = sorted([META, *_files(partial)])
    (partial / META).write_text(json.dumps(about, indent=1))


def _digest(path: Path) -> str:
    """By which a browser tells a new model from one that it has kept."""
    return sha256(path)[:16]


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        if error.filename2 is None:  # the source cannot be read
            raise
        raise OSError(error.errno, error.strerror, os.fspath(target.parent)) from error


def _put_in_place(partial: Path, site: Path) -> int:
    earlier, new = _own(site), sorted(_files(partial), key=lambda name: (name == INDEX, name == META, name))
    size = sum((partial / name).stat().st_size for name in new)
    for name in new:  # the page itself last
        (site / name).parent.mkdir(exist_ok=True)
        os.replace(partial / name, site / name)
    for name in set(earlier) - set(new):
        with suppress(FileNotFoundError):
            (site / name).unlink()
    return size


def _files(folder: Path) -> list[str]:
    """Paths of all files and links within, but for what a run that was killed left of a site."""
    found = [path.relative_to(folder) for path in folder.rglob('*') if path.is_symlink() or not path.is_dir()]
    return [path.as_posix() for path in found if not path.parts[0].startswith(PARTIAL)]


def _own(folder: Path) -> list[str]:
    """The files of an earlier site, by its model.json; none of another folder."""
    try:
        names = json.loads((folder / META).read_bytes())['site']
        return [name for name in _files(folder) if name in names]
    except (OSError, ValueError, KeyError, TypeError):
        return []
