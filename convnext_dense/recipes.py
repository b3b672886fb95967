"""The recipes that come with the package: where their files are, and what their docstrings state.

In a clone they are in `configs/` beside the package, in a wheel within it. This file needs no library.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# The forms in which docstrings state published scores: at a single scale / at several, of boxes / of masks.
SCORES = re.compile(
    r'(mIoU) ([\d.]+), multi-scale and flip ([\d.]+);|multi-scale (mIoU) ([\d.]+);|box (AP) ([\d.]+), mask AP ([\d.]+);'
)


def folder() -> Path:
    """The folder of the recipes."""
    within = PACKAGE / 'configs'
    return within if within.is_dir() else PACKAGE.parent / 'configs'


def recipes() -> dict[str, Path]:
    """Each recipe's name and file."""
    return {path.stem: path for path in sorted(folder().glob('*.py'))}


def find_recipe(name: str | os.PathLike[str]) -> Path | None:
    """The file of the recipe of this name, with or without `.py`; None for any other text."""
    return recipes().get(os.fspath(name).removesuffix('.py'))


def name_of(path: str | os.PathLike[str]) -> str:
    """What to call a config: a recipe by its name, another by its path."""
    recipe = recipes().get(Path(path).stem)
    return recipe.stem if recipe and recipe == Path(path).resolve() else os.fspath(path)


def docstring(path: Path) -> str:
    """A config's docstring; empty where there is none."""
    return ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''


def title(path: Path) -> str:
    """The first line of a config's docstring, without its full stop."""
    return docstring(path).partition('\n')[0].rstrip('.')


def published_scores(path: Path) -> str | None:
    """The scores in a config's docstring, as 'mIoU 46.0 / 46.7', 'mIoU - / 52.1'; None where it states none."""
    found = SCORES.search(' '.join(docstring(path).split()))
    if found is None:
        return None
    metric, *scores = filter(None, found.groups())
    return f'{metric} {" / ".join(["-"] * (2 - len(scores)) + scores)}'
