"""Places that hooks and evaluators of a config write to late: known to be writable before the run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.files import check_folder
from convnext_dense.run.nodes import leaves

FOLDERS = ('out_dir', 'output_dir')
FILES = {'out_file_path': ('',), 'outfile_prefix': ('.bbox.json', '.segm.json')}  # and what is put behind
LONGEST = 255  # of a file's name


def check_outputs(cfg: Config, names: Sequence[str]) -> None:
    """Stop where a place to write to under the entries `names` is none that can be written. Nothing is left.

    Raises:
        InputError: with the entry's dotted key.
    """
    for key, value in leaves(cfg._cfg_dict):
        last = key.split('.')[-1]
        if value is None or last not in (*FOLDERS, *FILES) or not any(key.startswith(f'{name}.') for name in names):
            continue
        if not isinstance(value, (str, Path)) or not str(value):
            raise InputError(f'{key}: expected the path of a place to write to, got {brief(value)}; name one, or leave it out')
        if '://' in str(value):
            continue  # of a store that is no folder
        if last in FOLDERS:
            check_folder(key, str(value))
        for suffix in FILES.get(last, ()):
            _check_new(key, f'{value}{suffix}')


def _check_new(key: str, file: str) -> None:
    """A file whose folders may be made with it."""
    check_folder(key, os.path.dirname(os.path.abspath(file)))
    if os.path.lexists(file) and not os.path.isfile(file):
        raise InputError(f'{key}: expected a file that can be written, got {file} which is no regular file; name another')
    if len(os.fsencode(os.path.basename(file))) > LONGEST:
        raise InputError(f'{key}: expected a name of at most {LONGEST} bytes, got {brief(file)}; name a shorter one')
