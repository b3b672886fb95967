"""The parts of a page: text is escaped, pictures are shrunk, scripts are there only for what sorts."""

import base64
import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from convnext_dense.report.html import SIDE, bar, chart, drawn, gallery, grid, jpeg, page, percent, span, swatch, table


def test_a_page_has_no_script_but_for_sorting() -> None:
    plain = page('a <b>', ['<p>one</p>', '', table(['x'], [['1']])])
    assert '<title>a &lt;b&gt;</title>' in plain and '<script>' not in plain and '\n\n' not in plain.partition('<body>')[2][1:]
    sorts = page('a', [table(['x'], [['1']], sorts=True)])
    assert '<script>' in sorts and '<table class="sorts"><tr><th>x</th></tr><tr><td>1</td></tr></table>' in sorts


def test_a_name_that_is_no_utf_8_is_written() -> None:
    text = page('a\udcff', [grid([('', 'b\udcfe.png')])])
    assert '<title>a\\udcff</title>' in text and 'b\\udcfe.png' in text and text.encode()
    assert '<title>ä 漢</title>' in page('ä 漢', [])


def test_a_name_as_it_is_drawn() -> None:
    assert [drawn(name) for name in ('run', '_a', r'a$\lr$b', 'b\udcff')] == ['run', ' _a', r'a\$\lr\$b', r'b\udcff']


def test_captions_are_text() -> None:
    assert grid([('data:x', '<i>')]) == (
        '<div class="grid"><figure><img src="data:x" alt=""><figcaption>&lt;i&gt;</figcaption></figure></div>'
    )
    assert '<img' not in grid([('', 'gone')]) and '<h2>A &amp; b</h2>' in gallery('A & b', '<', [])
    assert swatch((1, 2, 3)).count('rgb(1,2,3)') == 1


def opened(url: str, kind: str) -> Image.Image:
    start = f'data:image/{kind};base64,'
    assert url.startswith(start)
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix(start))))


def test_pictures() -> None:
    wide = np.zeros((100, 4 * SIDE, 3), np.uint8)
    assert opened(jpeg(wide), 'jpeg').size == (SIDE, 25) and opened(jpeg(wide, None), 'jpeg').size == (4 * SIDE, 100)
    assert opened(jpeg(Image.new('RGB', (3, 5000))), 'jpeg').size == (1, SIDE)
    figure = Figure(figsize=(2, 1))
    assert opened(chart(figure, 'a "b"').split('"')[3], 'png').size == (200, 100) and '&quot;b&quot;' in chart(figure, 'a "b"')


def test_shares() -> None:
    assert bar(0.25).endswith(' 25.0%') and 'width:50px' in bar(0.25) and 'width:1px' in bar(0.0)
    assert percent(0.1234) == '12.3' and percent(0.1234, 2) == '12.34' and percent(float('nan')) == '-'
    assert span((0.1, 0.2)) == '10.0 to 20.0' and span((float('nan'), float('nan'))) == '-'
