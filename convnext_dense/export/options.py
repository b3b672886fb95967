"""What is asked of an export, checked before a model is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from convnext_dense.errors import InputError
from convnext_dense.export.names import EIGHT_BITS, MASKS, SUFFIXES
from convnext_dense.files import check_file
from convnext_dense.models.archs import MIN_SIDE

Size = tuple[int, int] | None  # (H, W); None for any


class Options(NamedTuple):
    """What is asked of a file."""

    size: Size = None
    raw: bool = False
    masks: str = MASKS[0]
    check: str | None = None  # pictures to compare on; None for drawn ones
    int8: str | None = None  # pictures to calibrate on


def parsed_size(text: str) -> Size:
    """'dynamic', HxW in pixels, or one number for both.

    Raises:
        InputError: for anything else, and sides that the model does not take.
    """
    if text == 'dynamic':
        return None
    sides = text.lower().split('x')
    sides = sides * 2 if len(sides) == 1 else sides
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise InputError(f'--size: expected dynamic, or HEIGHTxWIDTH in pixels, as 512x683, got {text!r}')
    height, width = map(int, sides)
    if min(height, width) < MIN_SIDE:
        raise InputError(f'--size: expected sides of at least {MIN_SIDE} pixels, the last stride, got {text}')
    return height, width


def int8_file(file: Path) -> Path:
    """The file of eight bits beside one of 32."""
    return file.with_name(f'{file.stem}_int8{file.suffix}')


def targets(out: str, forms: Sequence[str]) -> dict[str, Path]:
    """The file of each form: `out` with the form's suffix.

    Raises:
        InputError: for a suffix of another form, and files that cannot be written.
    """
    path, suffixes = Path(out), [SUFFIXES[name] for name in forms]
    if path.suffix not in suffixes:
        got = f'{out}, which is a folder; name a file in it' if path.is_dir() else out
        raise InputError(f'--out: expected a name that ends in {" or ".join(suffixes)}, as --to {" ".join(forms)}; got {got}')
    found = {name: path.with_suffix(suffix) for name, suffix in zip(forms, suffixes)}
    for file, suffix in zip(found.values(), suffixes):
        check_file('--out', str(file), suffix)
        check_file('--out', str(int8_file(file)), suffix)
    description = path.with_suffix('.json')
    check_file('--out', str(description), '.json')
    if description.exists() and not _is_ours(description):
        raise InputError(f'--out: expected to write {description} beside it, which is of something else; name another')
    return found


def of_one_name(out: str) -> list[Path]:
    """The files of all forms and of eight bits that are there with the name of `out`."""
    files = [Path(out).with_suffix(suffix) for suffix in SUFFIXES.values()]
    return [path for file in files for path in (file, int8_file(file)) if path.exists()]


def _is_ours(description: Path) -> bool:
    try:
        found = json.loads(description.read_text())
    except ValueError:
        return False
    return isinstance(found, dict) and str(found.get('made_by', '')).startswith('convnext_dense')


def expect_pictures(option: str, given: str) -> None:
    """Stop where there is no picture in a folder, or by a pattern.

    Raises:
        InputError: which names the option.
    """
    from convnext_dense.predict.inputs import is_url, items  # numpy and OpenCV, which --serve does without

    if is_url(given):
        raise InputError(f'{option}: expected a folder, a pattern or a picture on this computer, got {given}; fetch it')
    try:
        next(items(given))
    except InputError as error:
        raise of_option(option, error) from error


def expect_eight_bits(forms: Sequence[str]) -> None:
    """Stop where none of the forms has a file of eight bits."""
    if not set(forms) & set(EIGHT_BITS):
        raise InputError(f'--int8: expected --to {" or ".join(EIGHT_BITS)}, got {", ".join(forms)}; leave one of the two out')


def of_option(option: str, error: InputError) -> InputError:
    """What was said of `predict`'s input, of an option."""
    why = str(error).removeprefix('input: ').partition('; --recursive')[0]
    return InputError(f'{option}: {why}')
