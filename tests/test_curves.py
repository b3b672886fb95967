"""What is drawn of one run and of several; the file is written in one move."""

from pathlib import Path

import pytest
from logs import a_run, train_row, write_start
from PIL import Image

from convnext_dense.report.curves import curves, write_curves
from convnext_dense.report.log import read_log


def titles(figure) -> list[str]:
    return [axis.get_title(loc='left') for axis in figure.axes if axis.get_title(loc='left')]


def test_one_run(tmp_path: Path) -> None:
    figure = curves({'run': read_log(a_run(tmp_path))})
    wanted = ['loss', 'mIoU, best marked', 'learning rate', 'norm of the gradients', 'seconds', 'peak memory, MiB']
    assert titles(figure) == wanted
    loss, metric = figure.axes[:2]
    assert [line.get_label() for line in loss.get_lines()] == ['loss', 'decode.loss_ce', 'aux.loss_ce']
    assert loss.get_yscale() == 'linear' and '80' in [text.get_text() for text in metric.texts]


def test_several_runs_have_a_line_each(tmp_path: Path) -> None:
    logs = {name: read_log(a_run(tmp_path / name)) for name in ('a', 'b')}
    loss, metric = curves(logs).axes[:2]
    assert [line.get_label() for line in loss.get_lines()] == ['a', 'b']
    assert len([line for line in metric.get_lines() if line.get_marker() == '*']) == 2


def test_names_of_any_letters_are_in_the_legend(tmp_path: Path) -> None:
    logs = {name: read_log(a_run(tmp_path / str(i))) for i, name in enumerate(('_a', r'a$\lr$b', 'b\udcff'))}
    loss = curves(logs).axes[0]
    assert [text.get_text().strip() for text in loss.get_legend().get_texts()] == ['_a', r'a\$\lr\$b', r'b\udcff']
    write_curves(logs, tmp_path / 'curves.png')  # which a formula would stop


def test_a_log_of_little(tmp_path: Path) -> None:
    """One line, no validation, no gradient norm; where a run went on is marked, and a loss over decades is logarithmic."""
    few = dict(loss=1.0, time=0.1, data_time=0.0, lr=0.1)
    write_start(tmp_path, '20260101_000000', [dict(few, iter=10, step=10)])
    assert titles(curves({'run': read_log(tmp_path)})) == ['loss', 'learning rate', 'seconds']
    write_start(tmp_path, '20260102_000000', [train_row(20, loss=500.0)])
    axis = curves({'run': read_log(tmp_path)}).axes[0]
    assert axis.get_yscale() == 'log' and any(set(line.get_xdata()) == {20} for line in axis.get_lines())


def test_the_file(tmp_path: Path) -> None:
    log = read_log(a_run(tmp_path))
    write_curves({'run': log}, tmp_path / 'curves.png')
    assert Image.open(tmp_path / 'curves.png').size[0] > 800
    with pytest.raises(FileNotFoundError):
        write_curves({'run': log}, tmp_path / 'gone' / 'curves.png')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['20260101_000000', 'curves.png']
