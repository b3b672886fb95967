"""The figure of the walk."""

from pathlib import Path

from matplotlib import image as pictures

from convnext_dense.benchmark.roadmap import rows_of
from convnext_dense.benchmark.roadmap_figure import draw


def test_panels_come_with_what_is_there(tmp_path: Path) -> None:
    rows = rows_of('tiny', ['enhanced', 'kernel9', 'downsample'])
    draw(rows, [tmp_path / 'one.png'])
    plain = dict(inference=1.0, training=3.0, kept=100)
    for row in rows:
        row['measured'] = {'plain layers': plain}
    rows[2]['measured']['our kernels'] = dict(plain, inference=0.5)
    rows[0]['miou'], rows[2]['miou'] = {'0': 60.0, '1': 62.0}, {'0': 70.0}
    draw([*rows, *rows_of('base', ['enhanced'])], [tmp_path / 'all.png', tmp_path / 'all.svg'])
    one, whole = (pictures.imread(tmp_path / f'{name}.png') for name in ('one', 'all'))
    assert whole.shape[1] > 2 * one.shape[1] and whole.shape[0] > 1.5 * one.shape[0]
    assert one.std() > 0.1 and whole.std() > 0.1
    text = (tmp_path / 'all.svg').read_text()
    for words in ('T: from ResNet-50', 'B: from ResNet-200', 'measured here', 'inference time, our kernels', 'mIoU of the toy'):
        assert f'<!-- {words}' in text, words
