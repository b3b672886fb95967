"""A page about annotated pictures: one HTML file that opens without a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from convnext_dense.data.layouts.found import Found, Picture
from convnext_dense.report.html import bar, gallery, grid, page, swatch, table
from convnext_dense.report.problems import ERROR, WARNING, Problem, class_counts
from convnext_dense.report.strange import strangest
from convnext_dense.report.survey import Seen
from convnext_dense.report.thumbnail import thumbnail

FIRST, STRANGEST = 24, 24  # pictures of a section
EACH = 40  # problems of a kind that are shown
ROWS = 12  # of a table of sizes


class Anchors(NamedTuple):
    """What a detector compares objects with: sides in pixels, and the scale (longest, shortest) of its pictures."""

    sides: tuple[float, ...]
    scale: tuple[int, int]


class Data(NamedTuple):
    """What the page is about; `seen` is by a picture's name, `masks`: of classes by pixel."""

    found: Found
    parts: Mapping[str, Sequence[Picture]]
    seen: Mapping[str, Seen]
    problems: Sequence[Problem]
    lines: Sequence[str]
    masks: bool
    anchors: Anchors | None
    palette: Sequence[tuple[int, int, int]]
    channels: int | None = None

    @property
    def pictures(self) -> list[Picture]:
        return [picture for several in self.parts.values() for picture in several]


def data_page(data: Data, told: Callable[[int, int], None] | None = None) -> str:
    """The page's text. `told` is called as its pictures are drawn."""
    listed = [one for _, _, several in _kinds(data.problems) for one in several[:EACH]]
    shown = [one for problem in listed for one in (problem.picture, problem.other) if one is not None]
    first = spread_over(data.pictures, FIRST)
    strange = strangest(data.pictures, data.seen, STRANGEST)
    total, done = len(shown) + len(first) + len(strange), 0

    def drawn(picture: Picture, problem: Problem | None = None) -> str:
        nonlocal done
        done += 1
        if told is not None:
            told(done, total)
        return thumbnail(data.found, picture, data.palette, problem.box if problem else None, data.masks, data.channels)

    sections = [
        _head(data),
        _problems(data.problems, drawn),
        _classes(data),
        _pictures(data),
        _channels(data),
        _objects(data),
        gallery('First pictures', 'Spread evenly over all.', [(drawn(one), one.name) for one in first]),
        gallery(
            'Strangest pictures',
            'Furthest from the median in one respect.' if strange else 'None is far from the others.',
            [(drawn(one.picture), f'{one.picture.name}: {one.why}') for one in strange],
        ),
    ]
    return page(data.found.root.name, sections)


def spread_over(pictures: Sequence[Picture], most: int) -> list[Picture]:
    """Some of them, evenly."""
    if len(pictures) <= most:
        return list(pictures)
    return [pictures[index] for index in np.linspace(0, len(pictures) - 1, most).round().astype(int)]


def _head(data: Data) -> str:
    lines = ''.join(f'<p>{escape(line.removeprefix("data: "))}</p>' for line in data.lines)
    return f'<h1>{escape(data.found.root.name)}</h1>{lines}'


def _kinds(problems: Sequence[Problem]) -> list[tuple[str, str, list[Problem]]]:
    """(level, kind, problems), errors first."""
    found: dict[tuple[str, str], list[Problem]] = {}
    for one in problems:
        found.setdefault((one.level, one.kind), []).append(one)
    return [(level, kind, several) for (level, kind), several in found.items()]


def _problems(problems: Sequence[Problem], drawn: Callable[..., str]) -> str:
    counts = Counter(one.level for one in problems)
    text = [f'<h2>Problems</h2><p>{counts[ERROR]} errors, {counts[WARNING]} warnings.</p>']
    for level, kind, several in _kinds(problems):
        more = f', the first {EACH} shown' if len(several) > EACH else ''
        text.append(f'<h3 class="{level}">{escape(kind)}: {len(several)}{more}</h3>')
        alone = [one.text for one in several[:EACH] if one.picture is None]
        text += [f'<p>{escape(line)}</p>' for line in alone]
        cells = []
        for one in several[:EACH]:
            if one.picture is not None:
                cells.append((drawn(one.picture, one), one.text))
            if one.other is not None:
                cells.append((drawn(one.other), f'and {one.other.name}'))
        text.append(grid(cells) if cells else '')
    return '\n'.join(text)


def _classes(data: Data) -> str:
    splits = [split for split, pictures in data.parts.items() if pictures]
    counts = {split: class_counts(data.found, data.parts[split], data.seen) for split in splits}
    objects = {split: Counter(o.label for p in data.parts[split] for o in p.objects) for split in splits}
    pixels = sum((seen.pixels for seen in data.seen.values() if seen.pixels is not None), np.zeros(len(data.found.classes)))
    whole = max(1, sum(one.total() for one in objects.values()))
    rows = []
    for label, name in enumerate(data.found.classes):
        row = [f'{swatch(data.palette[label])}{escape(name)}']
        row += [str(counts[split][label]) for split in splits]
        if not data.masks:
            row += [str(objects[split][label]) for split in splits]
        share = pixels[label] / max(1, pixels.sum()) if data.masks else sum(o[label] for o in objects.values()) / whole
        rows.append([*row, bar(float(share))])
    head = ['class', *(f'pictures in {split}' for split in splits)]
    head += [] if data.masks else [f'objects in {split}' for split in splits]
    return '<h2>Classes</h2>' + table([*head, 'of all pixels' if data.masks else 'of all objects'], rows)


def _pictures(data: Data) -> str:
    there = [seen for seen in data.seen.values() if not seen.why]
    if not there:
        return ''
    sizes = Counter(seen.size for seen in there)
    rows = [[f'{w} x {h}', str(count), bar(count / len(there))] for (w, h), count in sizes.most_common(ROWS)]
    ratios = np.array([seen.size[0] / seen.size[1] for seen in there])
    edges = [0, 0.5, 0.75, 0.95, 1.05, 1.4, 1.8, 2.5, np.inf]
    shares = np.histogram(ratios, edges)[0] / len(ratios)
    names = ['below 1:2', '1:2 to 3:4', '3:4 to 1:1', '1:1', '1:1 to 4:3', '4:3 to 16:9', '16:9 to 5:2', 'above 5:2']
    ratio_rows = [[name, bar(float(share))] for name, share in zip(names, shares) if share]
    empty = sum(not picture.objects for picture in data.pictures)
    without = '' if data.masks else f'<p>{empty} of {len(data.pictures)} pictures have no object.</p>'
    more = f'<p>and {len(sizes) - ROWS} more sizes</p>' if len(sizes) > ROWS else ''
    return (
        '<h2>Pictures</h2>' + table(['size', 'pictures', ''], rows) + more + table(['width : height', ''], ratio_rows) + without
    )


def _channels(data: Data) -> str:
    """Of those with the most common number of channels."""
    there = [seen for seen in data.seen.values() if not seen.why]
    number, _ = Counter(len(seen.mean) for seen in there).most_common(1)[0] if there else (0, 0)
    same = [seen for seen in there if len(seen.mean) == number]
    if not same:
        return ''
    weights = np.array([seen.size[0] * seen.size[1] for seen in same], float)
    means, stds = np.array([seen.mean for seen in same]), np.array([seen.std for seen in same])
    mean = np.average(means, axis=0, weights=weights)
    std = np.sqrt(np.average(stds**2 + (means - mean) ** 2, axis=0, weights=weights))
    names = ('red', 'green', 'blue') if number == 3 else tuple(f'channel {i + 1}' for i in range(number))
    rows = [[name, f'{m:.3f}', f'{s:.3f}'] for name, m, s in zip(names, mean, std)]
    modes = ', '.join(f'{count} {mode}' for mode, count in Counter(seen.mode for seen in there).most_common())
    return f'<h2>Channels</h2><p>Modes: {escape(modes)}.</p>' + table(['channel', 'mean', 'deviation'], rows)


def _objects(data: Data) -> str:
    objects = [(one, picture.size) for picture in data.pictures for one in picture.objects]
    if not objects or data.masks:
        return ''
    widths = np.array([one.box[2] - one.box[0] for one, _ in objects]).clip(1e-6)
    heights = np.array([one.box[3] - one.box[1] for one, _ in objects]).clip(1e-6)
    sides = np.sqrt(widths * heights)
    edges, names = [0, 32, 96, np.inf], ['small (below 32 x 32)', 'medium', 'large (from 96 x 96)']
    rows = [[name, str(count), bar(count / len(sides))] for name, count in zip(names, np.histogram(sides, edges)[0].tolist())]
    text = '<h2>Objects</h2>' + table(['size by COCO', 'objects', ''], rows)
    per = Counter(len(picture.objects) for picture in data.pictures)
    counts = [len(picture.objects) for picture in data.pictures]
    text += f'<p>A picture has {min(per)} to {max(per)} objects, in the median {float(np.median(counts)):g}.</p>'
    ratios = widths / heights
    text += f'<p>Width to height: {np.percentile(ratios, 5):.2f} to {np.percentile(ratios, 95):.2f} for nine of ten.</p>'
    return text + (_anchors(data.anchors, sides, [size for _, size in objects]) if data.anchors else '')


def _anchors(anchors: Anchors, sides: np.ndarray, sizes: Sequence[tuple[int, int]]) -> str:
    """Objects as large as the detector sees them, by the nearest anchor."""
    longest, shortest = max(anchors.scale), min(anchors.scale)
    factors = np.array([min(longest / max(size), shortest / min(size)) for size in sizes])
    logs = np.log2(sides * factors)
    places = np.log2(np.array(anchors.sides))
    nearest = np.abs(logs[:, None] - places[None]).argmin(1)
    far = (logs < places[0] - 1) | (logs > places[-1] + 1)
    rows = [
        [f'{side:g}', str(count), bar(count / len(logs))]
        for side, count in zip(anchors.sides, np.bincount(nearest[~far], minlength=len(places)).tolist())
    ]
    small, large = int((logs < places[0] - 1).sum()), int((logs > places[-1] + 1).sum())
    rows += [['less than half the smallest', str(small), bar(small / len(logs))]] if small else []
    rows += [['more than twice the largest', str(large), bar(large / len(logs))]] if large else []
    words = f'At the scale of the recipe (short side {shortest}, long side at most {longest}), by the nearest anchor:'
    hint = (
        '<p>Objects of less than half the smallest anchor are hardly found: --tile, or a larger scale, helps.</p>'
        if small
        else ''
    )
    return f'<p>{words}</p>' + table(['anchor side', 'objects', ''], rows) + hint
