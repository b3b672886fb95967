"""Counting, and reading the published figures."""

import re
from pathlib import Path

import pytest
from conftest import ROOT, SHAPES, call_tool
from pages import page

from convnext_dense.benchmark.complexity import Figures, count, published_figures, usual_shape
from convnext_dense.commands import complexity
from convnext_dense.recipes import recipes
from convnext_dense.run.options import load_config

T = ROOT / 'configs/upernet_convnext_t_ade20k.py'


def test_published_figures_are_read_from_the_docstring(tmp_path: Path) -> None:
    assert published_figures(T) == Figures(params=60, macs=939, height=512, width=2048)
    assert published_figures(Path(SHAPES)) is None
    detector = published_figures(ROOT / 'configs/mask_rcnn_convnextv2_base_coco.py')
    assert detector == Figures(params=None, macs=486, height=1280, width=800)


def test_every_recipe_is_in_the_table_published_or_not(monkeypatch) -> None:
    monkeypatch.setattr(complexity, 'count', lambda cfg, height, width: (1_500_000, height * width * 1000))
    table = complexity.published_table()
    rows = dict(zip(table.columns[0].cells, zip(*(column.cells for column in table.columns[1:]))))
    assert set(rows) == {name for name in recipes() if not name.endswith('_shapes')}
    assert rows['upernet_dinov3_convnext_t_ade20k'] == ('512x2048', '1.500 M', '-', '1.0 G', '-', '-')
    assert rows['mask_rcnn_convnextv2_base_coco'] == ('1280x800', '1.500 M', '-', '1.0 G', '486 G', '-99.79 %')
    assert rows['upernet_convnext_l_ade20k'] == ('640x2560', '1.500 M', '235 M', '1.6 G', '2458 G', '-99.93 %')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['upernet_convnextv2_atto_ade20k', 'mask_rcnn_dinov3_convnext_t_coco'])
def test_measured_multiply_adds_of_the_page(name: str) -> None:
    cfg = load_config(name)
    _, macs = count(cfg, *usual_shape(cfg))
    (row,) = [line for line in page('models').text.splitlines() if line.startswith(f'| `{name}`')]
    assert row.endswith(f'| {macs / 1e9:.1f} G |')


def test_multiply_adds_by_hand() -> None:
    """A block at C channels and P pixels costs P * (49 C + 8 C^2), its LayerNorm 5 P C by the analysis' convention."""
    arch = {'depths': [1, 1, 1, 1], 'dims': [8, 8, 8, 8]}
    cfg = load_config(SHAPES)
    cfg.model.backbone = dict(type='ConvNeXt', arch=arch)
    cfg.model.decode_head = dict(
        type='FCNHead', in_channels=8, in_index=3, channels=8, num_convs=0, concat_input=False, num_classes=6
    )
    cfg.model.auxiliary_head = None
    params, macs = count(cfg, 64, 96)
    pixels = [16 * 24, 8 * 12, 4 * 6, 2 * 3]
    blocks = sum(p * (49 * 8 + 8 * 64 + 5 * 8) for p in pixels)
    stem = pixels[0] * (8 * 3 * 16 + 5 * 8)
    halve = sum(after * 8 * 8 * 4 + before * 5 * 8 for before, after in zip(pixels, pixels[1:]))  # noqa: RUF007
    norm3 = 5 * 8 * pixels[3]  # the head takes the last map only; what is unused does not count
    classifier = pixels[3] * 8 * 6
    assert macs == blocks + stem + halve + norm3 + classifier
    block = 8 * 49 + 8 + 16 + (8 * 32 + 32) + (32 * 8 + 8) + 8
    assert params == (8 * 48 + 8 + 16) + 4 * block + 3 * (16 + 8 * 32 + 8) + 4 * 16 + (8 * 6 + 6)


@pytest.mark.slow
def test_t_is_within_one_percent_of_the_published_figure() -> None:
    """At a quarter of the sides, as work goes by pixels. The whole table, `tools/complexity.py --published`, takes minutes."""
    done = call_tool('complexity', str(T), '--shape', '128', '512')
    assert done.returncode == 0, done.stderr
    millions, billions = map(float, re.search(r'at 128x512: ([\d.]+) M parameters, ([\d.]+) G', done.stdout).groups())
    assert round(millions) == 60
    assert 16 * billions == pytest.approx(939, rel=0.01)


def test_wrong_arguments(tool) -> None:
    status, err = tool('complexity', str(T), '--shape', '20')
    assert (status, err) == (2, 'error: --shape: expected one or two sizes from 32 to 8192, got 20\n')
    status, err = tool('complexity', str(T), '--shape', '64', '99999999')
    assert (status, err) == (2, 'error: --shape: expected one or two sizes from 32 to 8192, got 64 99999999\n')
    assert tool('complexity')[0] == 2
