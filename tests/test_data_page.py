"""The page of --data: one file, no network, every problem with its picture; through the command."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import SHAPES, SHAPES_COCO, call_tool, one_line
from layout_sets import MASKS, painted, toy, write_coco, write_yolo

from convnext_dense.report.data_page import spread_over
from convnext_dense.report.html import table

TREES = ('building', 'sky', 'tree')


class Page(HTMLParser):
    """Pictures, links, headings and text; tags must close as they open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.headings: list[str] = []
        self.words = ''
        self.feed(path.read_text())
        assert not self.open

    def handle_starttag(self, tag: str, attrs) -> None:
        if tag == 'img':
            self.images.append(dict(attrs)['src'])
        elif tag != 'meta':
            self.open.append(tag)
        assert tag not in ('script', 'link') and not dict(attrs).get('href')

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ('h2', 'h3'):
            self.headings.append(data)
        if self.open and self.open[-1] != 'style':
            self.words += f'{data} '


def check(tmp_path: Path, *args: str):
    done = call_tool('check', *args, '--out', str(tmp_path / 'out'))
    return done, Page(tmp_path / 'out/index.html')


def test_objects(tmp_path: Path) -> None:
    write_coco(tmp_path / 'my data <b>', toy(tmp_path / 'toy'))
    done, page = check(tmp_path, '--data', str(tmp_path / 'my data <b>'))
    assert done.returncode == 0 and '0 errors, 0 warnings' in done.stdout, done.stderr
    assert page.headings == [
        'Problems', 'Classes', 'Pictures', 'Channels', 'Objects', 'First pictures', 'Strangest pictures',
    ]  # fmt: skip
    assert len(page.images) == 6 and all(url.startswith('data:image/jpeg') for url in page.images)
    assert 'my data <b>' in page.words and 'by the nearest anchor' in page.words and 'http' not in page.words
    assert re.search(r'date\s+4\s+2\s+4\s+2', page.words)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['index.html']


def test_every_problem_has_its_picture(tmp_path: Path) -> None:
    write_yolo(tmp_path / 'data', toy(tmp_path / 'toy'))
    label = next((tmp_path / 'data/train/labels').iterdir())
    label.write_text(label.read_text() + '\n0 0.5 0.5 0.001 0.5\n1 0.5 0.5 1 1')
    done, page = check(tmp_path, '--data', str(tmp_path / 'data'))
    assert done.returncode == 0 and '0 errors, 2 warnings' in done.stdout
    assert {'full-frame boxes: 1', 'tiny boxes: 1'} <= {*page.headings} and len(page.images) == 8


def test_masks_with_a_wrong_value(tmp_path: Path) -> None:
    from PIL import Image

    scenes = painted(toy(tmp_path / 'toy'))
    MASKS['indices'](tmp_path / 'data', scenes, TREES)
    mask = np.array(scenes['val'][0].mask)
    mask[:5, :5] = 77
    Image.fromarray(mask).save(tmp_path / 'data/masks/val/p4.png')
    done, page = check(tmp_path, '--data', str(tmp_path / 'data'))
    assert done.returncode == 1 and 'error: ' in done.stdout and 'p4.png has the value 77' in done.stdout
    assert 'wrong masks: 1' in page.headings and len(page.images) >= 7 and 'of all pixels' in page.words
    done, page = check(tmp_path, '--data', str(tmp_path / 'data'), '--ignore', '77')
    assert done.returncode == 0 and 'wrong masks: 1' not in page.headings


@pytest.mark.parametrize(
    ('args', 'pixels'), [((), False), (('--task', 'semantic'), True), ((SHAPES,), True), ((SHAPES_COCO,), False)]
)
def test_the_task(tmp_path: Path, args: tuple, pixels: bool) -> None:
    write_coco(tmp_path / 'data', toy(tmp_path / 'toy', size=(120, 100)))
    done, page = check(tmp_path, *args, '--data', str(tmp_path / 'data'))
    assert done.returncode == 0 and ('of all pixels' in page.words) == pixels and ('background' in page.words) == pixels


def test_what_is_wrong(tmp_path: Path) -> None:
    write_coco(tmp_path / 'data', toy(tmp_path / 'toy'))
    (tmp_path / 'file').touch()
    for args, words in (
        ([], 'expected a config, or --data DIR, got neither'),
        (['--data', str(tmp_path / 'file')], 'which is a file'),
        (['--data', str(tmp_path / 'data'), '--out', str(tmp_path / 'file')], '--out: expected a folder'),
        (['--data', str(tmp_path / 'data'), '--classes', 'plum'], '--classes: expected some of'),
    ):
        done = call_tool('check', *args)
        one_line(done.returncode, done.stderr, words)


def test_parts() -> None:
    assert spread_over(list('abcdefghij'), 4) == ['a', 'd', 'g', 'j'] and spread_over(['a'], 4) == ['a']
    assert table(['x'], [['<b>1</b>']]) == '<table><tr><th>x</th></tr><tr><td><b>1</b></td></tr></table>'
    assert json.dumps(table([], [])) == '"<table><tr></tr></table>"'
