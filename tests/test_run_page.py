"""The page of a run: its state, its best point, the same pictures over time, and what was left out of the log."""

from pathlib import Path

from logs import a_run, train_row, write_start
from models import write_photograph
from test_data_page import Page

from convnext_dense.report import run_page as run_page_file
from convnext_dense.report.evaluated import About
from convnext_dense.report.log import PICTURES, read_log
from convnext_dense.report.run_page import MOMENTS, evaluated_line, run_page
from convnext_dense.report.watch import renew
from convnext_dense.training.work_dir_lock import work_dir_lock


def opened(work_dir: Path, *sections: str) -> Page:
    (work_dir / 'page.html').write_text(run_page(read_log(work_dir), sections))
    return Page(work_dir / 'page.html')


def test_of_a_log_alone(tmp_path: Path) -> None:
    page = opened(a_run(tmp_path / 'my <run>'), '<h2>More</h2>')
    assert page.headings == ['Curves', 'Validations', 'More'] and len(page.images) == 1
    words = ' '.join(page.words.split())
    assert 'my <run>' in words and 'Best mIoU: 80 after 50 iterations; last: 75.' in words and '50 (best) 80' in words
    assert 'not finished' in words


def test_an_earlier_page_is_read_when_all_is_drawn(tmp_path: Path, monkeypatch) -> None:
    """Another process may write the whole report while a run draws its page."""
    log = read_log(a_run(tmp_path))
    path = tmp_path / 'report.html'
    text = run_page(log, ['<h2>Numbers</h2>'])

    def meanwhile(*_: object) -> str:
        path.write_text(text)
        return ''

    monkeypatch.setattr(run_page_file, '_over_time', meanwhile)
    assert 'Numbers' in run_page(log, before=path)


def test_a_checkpoint_that_is_the_best_is_named(tmp_path: Path) -> None:
    about = About('segmentation', str(tmp_path / 'iter_100.pth'), [0, 0], 100, '{}')
    assert 'The run kept' not in evaluated_line(about)
    (tmp_path / 'best_mIoU_iter_50.pth').touch()
    assert 'The run kept best_mIoU_iter_50.pth, too' in evaluated_line(about)
    about.checkpoint = str(tmp_path / 'best_mIoU_iter_50.pth')
    assert 'The run kept' not in evaluated_line(about)


def test_what_a_page_said_of_the_model_goes_on(tmp_path: Path) -> None:
    """Beside curves that are new, told as what it is; not that of another run."""
    log = read_log(a_run(tmp_path / 'run'))
    about = About('segmentation', 'run/iter_100.pth', [0, 0], 100, '{}', pictures=['a.png'] * 3)
    page = tmp_path / 'run' / 'report.html'
    page.write_text(run_page(log, [evaluated_line(about), '<h2>Numbers</h2>', '<table class="sorts"></table>']))
    assert 'an earlier page' not in page.read_text()
    write_start(tmp_path / 'run', '20260102_000000', [train_row(110)])
    for _ in range(2):
        renew(tmp_path / 'run')
        text = page.read_text()
        assert 'as an earlier page had it' in text and '110 iterations are logged' in text and '<script>' in text
        assert (
            text.count('<h2>Numbers</h2>') == 1 and text.count('iter_100.pth, after 100 iterations, on 3 pictures; made 2') == 1
        )
    other = read_log(a_run(tmp_path / 'other'))
    assert 'Numbers' not in run_page(other, before=page) and 'Numbers' not in run_page(log, before=tmp_path / 'gone')
    (tmp_path / 'cut.html').write_text(text.partition('<h2>Numbers')[0])
    assert 'earlier' not in run_page(log, before=tmp_path / 'cut.html')


def test_pictures_over_time(tmp_path: Path) -> None:
    a_run(tmp_path)
    for number in (0, 1):
        write_photograph(tmp_path / PICTURES / f'truth_{number}.jpg')
        for iteration in range(10, 100, 10):
            write_photograph(tmp_path / PICTURES / f'{iteration:08d}_{number}.jpg')
    page = opened(tmp_path)
    assert len(page.images) == 1 + 2 * (1 + MOMENTS)
    words = ' '.join(page.words.split())
    assert words.count('annotated after 10 iterations') == 2 and 'after 90 iterations' in words


def test_a_run_that_goes_on_and_a_cut_log(tmp_path: Path) -> None:
    write_start(tmp_path, '20260101_000000', [train_row(10)], rest='{"lo')
    write_start(tmp_path, '20260102_000000', [train_row(20)])
    with work_dir_lock(tmp_path):
        page = opened(tmp_path)
    assert 'The run was going on when this page was drawn' in page.words and 'None yet.' in page.words
    assert 'It went on 1 time after' in page.words and 'no whole JSON left out' in page.words
