"""A trained model on the Hugging Face hub: the names of its files there, and reading it back."""

from __future__ import annotations

from convnext_dense.errors import InputError, last_line

SCHEME = 'hf-hub:'
CHECKPOINT, CARD, CONFIG = 'model.pth', 'README.md', 'config.py'  # the hub shows README.md


def from_hub(name: str) -> str:
    """The checkpoint of `hf-hub:ORGANISATION/NAME[@REVISION]` in the hub library's cache, downloaded where it is not there.

    Raises:
        InputError: without the package huggingface_hub, or where the repository or its checkpoint cannot be had.
    """
    repository, _, revision = name.removeprefix(SCHEME).partition('@')
    if repository.count('/') != 1 or not all(repository.split('/')):
        raise InputError(f'model: expected {SCHEME}ORGANISATION/NAME, got {name}')
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise InputError(f'{name}: expected the package huggingface_hub, which is not installed; pip install it') from error
    try:
        return hf_hub_download(repository, CHECKPOINT, revision=revision or None)
    except Exception as error:  # its own errors, and those of the network
        raise InputError(
            f'{name}: expected a repository with {CHECKPOINT}, as `report --hub` uploads it, which cannot be had '
            f'({type(error).__name__}: {last_line(error)[:200]}); check the name, the network, and `hf auth login`'
        ) from error
