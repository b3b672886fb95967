"""Where the page's runtime, npm's package onnxruntime-web, comes from: a folder, node_modules, or npm into the user's cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from convnext_dense.errors import InputError

PACKAGE, VERSION = 'onnxruntime-web', '1.30.0'
# The build for processors: one WebAssembly file, for one thread and for several.
FILES = ('ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm')
SECONDS = 300  # for npm, of a package of 33 MB
OPTION = '--onnxruntime-web'
GIVE = f'unpack {PACKAGE} {VERSION} (`npm pack {PACKAGE}@{VERSION}` elsewhere) and name its folder with {OPTION} DIR'


def find_runtime(given: str | None) -> Path:
    """The folder that holds FILES, of VERSION: `given`, else the working folder's node_modules, else the cache, else by npm.

    Raises:
        InputError: for a folder that is none, a package of another version, and where npm is not there or fails.
    """
    if given is not None:
        found = _folder_of(Path(given))
        if found is None:
            what = _version(Path(given)) or 'no such package'
            raise InputError(f'{OPTION}: expected the package {PACKAGE} {VERSION}, unpacked, got {given}: {what}; {GIVE}')
        return found
    return runtime_at_hand() or _by_npm(cache_folder())


def runtime_at_hand() -> Path | None:
    """The folder of FILES that needs no network, if there is one."""
    return _folder_of(Path('node_modules', PACKAGE)) or _folder_of(cache_folder())


def cache_folder() -> Path:
    """In the user's cache, beside that of PyTorch's hub."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'convnext_dense', f'{PACKAGE}-{VERSION}')


def _folder_of(package: Path) -> Path | None:
    """The `dist` of an unpacked package, or of the `package` folder that npm's archives hold."""
    for folder in (package, package / 'package'):
        if _version(folder) == VERSION and all((folder / 'dist' / name).is_file() for name in FILES):
            return folder / 'dist'
    return None


def _version(package: Path) -> str | None:
    try:
        about = json.loads((package / 'package.json').read_bytes())
        return about['version'] if about['name'] == PACKAGE else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _by_npm(kept: Path) -> Path:
    npm = shutil.which('npm')
    if npm is None:
        raise InputError(f'--to web: expected npm, for the package {PACKAGE} {VERSION}, found none; install Node.js, or {GIVE}')
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        _pack(npm, Path(folder))
        unpacked = Path(folder, 'unpacked')
        (unpacked / 'dist').mkdir(parents=True)
        (archive,) = Path(folder).glob('*.tgz')
        with tarfile.open(archive) as tar:
            for name in ('package.json', *(f'dist/{name}' for name in FILES)):
                source = tar.extractfile(f'package/{name}')
                assert source is not None
                with source, open(unpacked / name, 'wb') as target:
                    shutil.copyfileobj(source, target)
        if not kept.exists():  # another process may have been first
            os.replace(unpacked, kept)
    found = _folder_of(kept)
    if found is None:
        raise InputError(f'{kept}: expected the package {PACKAGE} {VERSION}, got something else; remove it')
    return found


def _pack(npm: str, folder: Path) -> None:
    command = [npm, 'pack', f'{PACKAGE}@{VERSION}', '--pack-destination', str(folder), '--silent']
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InputError(f'--to web: npm did not bring {PACKAGE} {VERSION} within {SECONDS} seconds; {GIVE}') from error
    if done.returncode or not list(folder.glob('*.tgz')):
        words = (done.stderr.strip() or done.stdout.strip() or f'status {done.returncode}').splitlines()[0][:200]
        raise InputError(f'--to web: npm could not bring {PACKAGE} {VERSION} ({words}); {GIVE}')
