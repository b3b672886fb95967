"""A model that others find: checkpoint, config, card and exported files in a repository of the Hugging Face hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from convnext_dense.errors import InputError, last_line
from convnext_dense.predict.hub import CARD, CHECKPOINT, CONFIG
from convnext_dense.weights.open import open_checkpoint

EXPORTED = ('.onnx', '.xml', '.pt2', '.ts')  # beside which lie NAME.json and, of OpenVINO's, NAME.bin


def check_hub(name: str) -> None:
    """Stop at what is no name of a repository, and where the hub's library is not installed.

    Raises:
        InputError: in one line.
    """
    try:
        from huggingface_hub.utils import validate_repo_id
    except ImportError as error:
        raise InputError('--hub: expected the package huggingface_hub, which is not installed; pip install it') from error
    try:
        validate_repo_id(name)
    except ValueError as error:
        raise InputError(f'--hub: expected ORGANISATION/NAME, got {name!r}: {last_line(error)}') from error
    if name.count('/') != 1:
        raise InputError(f'--hub: expected ORGANISATION/NAME, got {name!r}')


def laid_out(folder: Path, work_dir: Path, checkpoint: str, config: Path, card: str) -> list[str]:
    """Put what is uploaded into `folder`; the names of its files. The checkpoint is without optimiser and random state."""
    content = open_checkpoint(checkpoint)
    torch.save({key: content[key] for key in ('meta', 'state_dict') if key in content}, folder / CHECKPOINT)
    (folder / CARD).write_text(card)
    shutil.copy(config, folder / CONFIG)
    for path in sorted(work_dir.iterdir()):
        if path.suffix in EXPORTED:
            for one in (path, path.with_suffix('.json'), path.with_suffix('.bin'), Path(f'{path}.json')):
                if one.is_file():
                    shutil.copy(one, folder / one.name)
    return sorted(path.name for path in folder.iterdir())


def upload(name: str, work_dir: Path, checkpoint: str, config: Path, card: str, say: Callable[[str], None]) -> None:
    """Make the repository where it is not there, private, and upload in one commit.

    Raises:
        InputError: where the hub refuses it, or cannot be reached; nothing here is changed.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        files = laid_out(Path(folder), work_dir, checkpoint, config, card)
        say(f'hub: uploading {", ".join(files)} to {name} …')
        try:
            api = HfApi()
            api.create_repo(name, private=True, exist_ok=True)
            done = api.upload_folder(repo_id=name, folder_path=folder, commit_message='A trained model and its card')
        except Exception as error:  # its own errors, and those of the network
            raise InputError(
                f'--hub {name}: the hub did not take it ({type(error).__name__}: {last_line(error)[:200]}); check the name, '
                'the network, and `hf auth login`'
            ) from error
    say(f'hub: {done}; a repository that is made is private: its settings change that')
