"""The parts of a page: one HTML file that opens without a network, and without JavaScript but for sorting its tables."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 360  # pixels of the longer side of a thumbnail
QUALITY = 80  # of its JPEG
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc; } h3 { margin-bottom: .4rem; }
.grid { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; }
figure { margin: 0; } figure img { width: 100%; border-radius: 4px; } figcaption { font-size: 12.5px; overflow-wrap: anywhere; }
img.chart { max-width: 100%; } pre { background: #f4f4f4; padding: .6rem 1rem; overflow-x: auto; font-size: 13px; }
table { border-collapse: collapse; margin: .6rem 0; } td, th { padding: 3px 12px; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr:nth-child(even) { background: #f4f4f4; }
table.sorts th { cursor: pointer; } .note { color: #555; }
.bar { display: inline-block; height: 10px; background: #4878a8; } .error { color: #b00020; } .warning { color: #9a6700; }
.swatch { display: inline-block; width: 12px; height: 12px; margin-right: 6px; border-radius: 2px; }
"""
# A click on a head sorts the rows by that column: numbers as numbers, once more turns them round.
SORT = """
for (const head of document.querySelectorAll('table.sorts th')) head.addEventListener('click', () => {
  const column = head.cellIndex, body = head.closest('table').tBodies[0], key = (row) => row.cells[column].textContent;
  const rows = [...body.rows].slice(1), down = head.dataset.down = head.dataset.down === '1' ? '0' : '1';
  const number = (text) => { const n = parseFloat(text); return isNaN(n) ? -Infinity : n; };
  const words = rows.every((row) => isNaN(parseFloat(key(row))));
  rows.sort((a, b) => words ? key(a).localeCompare(key(b)) : number(key(b)) - number(key(a)));
  body.append(...(down === '1' ? rows : rows.reverse()));
});
"""


def page(title: str, sections: Sequence[str]) -> str:
    """A whole page of sections, which are HTML; empty ones are left out."""
    body = '\n'.join(filter(None, sections))
    script = f'<script>{SORT}</script>' if 'class="sorts"' in body else ''
    return plain(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<style>{STYLE}</style></head>'
        f'<body>\n{body}\n{script}</body></html>\n'
    )


def plain(text: str) -> str:
    """Text that can be written: bytes of a file's name that are no UTF-8 as \\udcff and the like."""
    return text.encode('utf-8', 'backslashreplace').decode()


def drawn(name: str) -> str:
    """A name so that matplotlib draws it as it is: between two $ is no formula; its legend leaves out what begins with _."""
    name = plain(name).replace('$', r'\$')
    return f' {name}' if name.startswith('_') else name


def table(head: Sequence[str], rows: Sequence[Sequence[str]], sorts: bool = False) -> str:
    """An HTML table of cells that are HTML already; with `sorts`, a click on a column's head sorts it."""
    top = ''.join(f'<th>{cell}</th>' for cell in head)
    body = ''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)
    start = '<table class="sorts">' if sorts else '<table>'
    return f'{start}<tr>{top}</tr>{body}</table>'


def bar(share: float) -> str:
    """A bar of up to 200 pixels, and the share as a percentage."""
    return f'<span class="bar" style="width:{max(1, round(200 * share))}px"></span> {share:.1%}'


def percent(value: float, digits: int = 1) -> str:
    """'-' of what is not a number."""
    return '-' if np.isnan(value) else f'{100 * value:.{digits}f}'


def span(ends: Sequence[float] | NDArray) -> str:
    """The ends of an interval, as percentages."""
    low, high = ends
    return '-' if np.isnan(low) else f'{100 * low:.1f} to {100 * high:.1f}'


def swatch(colour: Sequence[int]) -> str:
    return f'<span class="swatch" style="background:rgb({",".join(map(str, colour))})"></span>'


def grid(cells: Sequence[tuple[str, str]]) -> str:
    """Pictures, four in a row: (data URL, caption as plain text) each; a cell without a URL is its words."""
    figures = [
        f'<figure>{f"""<img src="{url}" alt="">""" if url else ""}<figcaption>{escape(text)}</figcaption></figure>'
        for url, text in cells
    ]
    return f'<div class="grid">{"".join(figures)}</div>'


def gallery(title: str, words: str, cells: Sequence[tuple[str, str]]) -> str:
    return f'<h2>{escape(title)}</h2><p>{escape(words)}</p>{grid(cells)}'


def jpeg(rgb: NDArray[np.uint8] | Image.Image, side: int | None = SIDE) -> str:
    """A picture (H, W, 3) as the data URL of a JPEG, shrunk to `side` pixels; None leaves its size."""
    image = rgb if isinstance(rgb, Image.Image) else Image.fromarray(rgb)
    if side is not None and max(image.size) > side:
        scale = side / max(image.size)
        image = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BILINEAR
        )
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', quality=QUALITY)
    return 'data:image/jpeg;base64,' + base64.b64encode(buffer.getvalue()).decode()


def chart(figure: Any, alt: str) -> str:
    """A matplotlib figure as an image in the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=100)
    return png(buffer.getvalue(), alt)


def png(content: bytes, alt: str) -> str:
    """The bytes of a PNG as an image in the page."""
    url = 'data:image/png;base64,' + base64.b64encode(content).decode()
    return f'<img class="chart" src="{url}" alt="{escape(alt)}">'
