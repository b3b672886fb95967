"""The page of a config's data sets, of either kind."""

from pathlib import Path

import pytest
from conftest import SHAPES, SHAPES_COCO, call_tool
from test_data_page import Page

from convnext_dense.data.layouts.found import IGNORE
from convnext_dense.report.of_config import found_in_config
from convnext_dense.run.classes import settle_coco
from convnext_dense.run.options import load_config

NAMES = ('train_dataloader', 'val_dataloader')


@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO])
def test_a_page(config: str, shapes: str, tmp_path: Path) -> None:
    done = call_tool('check', config, '--data-root', shapes, '--out', str(tmp_path / 'out'))
    assert done.returncode == 0 and 'with their pictures in' in done.stdout, done.stderr
    page = Page(tmp_path / 'out/index.html')
    assert len(page.images) >= 11 and ('Objects' in page.headings) == (config == SHAPES_COCO)
    assert ('of all pixels' in page.words) == (config == SHAPES)


def test_what_is_found(shapes: str) -> None:
    found, parts = found_in_config(load_config(SHAPES, None, shapes), NAMES)
    assert [len(parts[split]) for split in ('train', 'val')] == [6, 5] and len(found.classes) == 6
    assert found.values.classes == {0: IGNORE, 1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 255: IGNORE}
    cfg = load_config(SHAPES_COCO, None, shapes)
    settle_coco(cfg, NAMES)
    found, parts = found_in_config(cfg, NAMES)
    assert found.values is None and len(found.classes) == 5 and all(picture.objects for picture in parts['train'])
