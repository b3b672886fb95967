"""Images and masks that do not find each other: what their names say about the suffixes and folders that are meant."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
LOSSY = ('.jpg', '.jpeg')
LOSSLESS = ('.png', '.bmp', '.tif', '.tiff', '.gif')


def stems(names: Iterable[str], suffix: str) -> list[str]:
    """The names that end with `suffix`, without it."""
    return [name[: -len(suffix)] for name in names if name.endswith(suffix)]


def names_below(folder: Path, paths: Iterable[Path]) -> list[str]:
    """The paths from the folder on; without those elsewhere."""
    return [path.relative_to(folder).as_posix() for path in paths if path.is_relative_to(folder)]


def common_ending(begins: Sequence[str], names: Iterable[str]) -> str | None:
    """What follows the beginnings in the names, where the same does for half of them or more: '_m.png' of 'a' and 'a_m.png'."""
    ordered = sorted(names)
    votes: Counter[str] = Counter()
    for begin in begins:
        index = bisect_left(ordered, begin)
        while index < len(ordered) and ordered[index].startswith(begin):
            rest = ordered[index][len(begin) :]
            votes[rest] += not (begin[-1:] + rest[:1]).isdigit()  # 1 is no beginning of 10.png
            index += 1
    votes.pop('', None)  # a suffix that a data set cannot have
    best = max(votes, key=lambda ending: (votes[ending], -len(ending)), default=None)
    return best if best is not None and 2 * votes[best] >= len(begins) else None


def image_hint(key: str, suffix: str, names: Sequence[str], others: Sequence[str]) -> str:
    """Where no image is found: what to do about the `names` in its folder; `others` are the masks' without their suffix."""
    found, most = _kinds(names)
    if not names:
        return 'it is empty:'
    ending = common_ending(others, names) or most
    if ending == suffix:
        return f'found {found} of other names or folders than the images: rename them or'
    if Path(f'x{ending}').suffix.lower() not in PICTURES:
        return f'found {found}:'
    return f"found {found}: set {key}='{ending}' or"


def mask_hint(key: str, names: Sequence[str], others: Sequence[str], folders: Sequence[Path]) -> str:
    """Likewise where no mask is found; `others` are the images' without their suffix, `folders` those of images and masks."""
    found, _ = _kinds(names)
    if not names:
        return 'it is empty:'
    ending = common_ending(others, [name for name in names if Path(name).suffix.lower() in LOSSLESS])
    if ending is not None:
        return f"found {found}: set {key}='{ending}' or"
    if common_ending(others, [name for name in names if Path(name).suffix.lower() in LOSSY]):
        return f'found {found}, whose compression blurs class numbers: save the masks as PNG or'
    if common_ending([Path(name).name for name in others], [Path(name).name for name in names]):
        return f'found {found} of other names or folders than the images: rename them or'
    return (
        f'found {found}, but {folders[0]} and {folders[1]} have no names in common: set data_prefix to an img_path and a '
        'seg_map_path that belong together or'
    )


def _kinds(names: Iterable[str]) -> tuple[str, str]:
    """How many files of which suffix, and the suffix of the most."""
    there = Counter(Path(name).suffix or Path(name).name for name in names)
    return ', '.join(f'{count} {one}' for one, count in there.most_common(3)), max(there, key=there.__getitem__, default='')
