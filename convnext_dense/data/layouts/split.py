"""Which pictures validate where the folder does not say: by a hash of their names, so that a picture stays on its side."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import PurePosixPath

from convnext_dense.data.layouts.found import Found, Picture
from convnext_dense.errors import InputError
from convnext_dense.expect import brief

VIDEO = 'video'  # of --group-by: a name without its last number
SHARE = 0.2


def split(
    found: Found, share: float = SHARE, group_by: str | None = None, training: bool = True
) -> tuple[dict[str, list[Picture]], str]:
    """The pictures of 'train' and 'val' (and 'test', where the folder has it), and how they were told apart.

    Args:
        share: of the training pictures, how many validate where there is no validation split.
        group_by: names that agree in this regular expression's match (its first group, where it has one) stay on one side;
            'video': names that differ in their last number alone.
        training: whether there must be pictures to train on.

    Raises:
        InputError: for a share or an expression that cannot be, and where a side would be empty.
    """
    if group_by is not None:
        check_pattern(group_by)
    if not 0 < share < 1:
        raise InputError(f'--val-share: expected a number between 0 and 1, got {share:g}')
    parts: dict[str, list[Picture]] = {'train': [], 'val': []}
    named = any(picture.split for picture in found.pictures)
    loose = 0
    for picture in found.pictures:
        if picture.split or not named:
            parts.setdefault(picture.split or 'train', []).append(picture)
        else:
            loose += 1
    rest = f', {loose} pictures in none of them are left out' if loose else ''
    if not parts['train'] and not training:
        return parts, f'splits as in the folder{rest}'
    if not parts['train']:
        raise InputError(f'--data: expected pictures to train on in {found.root}, got them for {_listed(parts)} alone')
    if parts['val']:
        unused = '; --val-share and --group-by are not used' if group_by is not None or share != SHARE else ''
        return parts, f'splits as in the folder{rest}{unused}'
    stems = [PurePosixPath(picture.name).stem for picture in parts['train']]
    whole = len(set(stems)) < len(stems)  # as of scene1/0001.jpg and scene2/0001.jpg
    keys = {picture.name: _key(picture.name, group_by, whole) for picture in parts['train']}
    groups = Counter(keys.values())
    if len(groups) < 2:
        several = f'; --group-by {group_by} puts all {len(keys)} pictures on one side' if len(keys) > 1 else ''
        raise InputError(f'--data: expected two pictures or more, one to validate on; got {len(keys)}{several}')
    places = {group: _place(group) for group in groups}
    chosen = {group for group, place in places.items() if place < share}
    chosen = chosen or {min(places, key=places.__getitem__)}
    chosen = chosen if len(chosen) < len(groups) else chosen - {max(places, key=places.__getitem__)}
    train = parts['train']
    parts['train'] = [picture for picture in train if keys[picture.name] not in chosen]
    parts['val'] = [picture for picture in train if keys[picture.name] in chosen]
    by = f', {len(groups)} groups of names by {group_by!r} kept together' if group_by else ''
    how = f'no validation split lies there: {share:.0%} of the names, by a hash, validate{by}{rest}'
    return parts, how


def _listed(parts: dict[str, list[Picture]]) -> str:
    return ' and '.join(name for name, pictures in parts.items() if pictures)


def _place(text: str) -> float:
    """A number from 0 to 1 that is the same for a text on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big') / 2**64


def _key(name: str, group_by: str | None, whole: bool) -> str:
    """What a picture is told apart by: its name without suffix, and folders unless `whole`, or the part that a group shares."""
    stem = str(PurePosixPath(name).with_suffix('')) if whole else PurePosixPath(name).stem
    if group_by is None:
        return stem
    if group_by == VIDEO:
        plain = re.sub(r'(_(jpe?g|png|bmp|webp))?\.rf\.\w+$', '', stem)  # what Roboflow adds
        return re.sub(r'[\W_]*\d+\D*$', '', plain) or plain
    found = re.search(group_by, stem)
    return (found.group(1) if found.groups() else found.group(0)) if found else stem


def check_pattern(group_by: str) -> None:
    """Stop at what is no regular expression."""
    try:
        re.compile(group_by)
    except re.error as error:
        raise InputError(f'--group-by: expected {VIDEO!r} or a regular expression, got {brief(group_by)} ({error})') from error
