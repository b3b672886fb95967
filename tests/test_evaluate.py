"""`report` through its command line: figures equal those of `test`, predictions are kept, runs compared; wrong inputs."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool, one_line
from logs import a_run
from test_data_page import Page

from convnext_dense.report.evaluated import ABOUT, DETECTIONS, FOLDER, read_about

SEGMENTOR = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=1']
DETECTOR = ['train_cfg.max_epochs=1', 'param_scheduler.0.end=1', 'default_hooks.checkpoint.interval=1']

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def trained(tmp_path_factory, shapes: str) -> dict[str, Path]:
    """A segmentor and a detector of some iterations, and what `test` says of them."""
    folder = tmp_path_factory.mktemp('runs')
    for name, config, options in (('seg', SHAPES, SEGMENTOR), ('det', SHAPES_COCO, DETECTOR)):
        given = ['--data-root', shapes, '--work-dir', str(folder / name)]
        done = call_tool('train', config, *given, '--seed', '0', '--cfg-options', *QUICK, *options)
        assert done.returncode == 0, done.stderr
        given = ['--data-root', shapes, '--work-dir', str(folder / f'{name}_test'), '--out', str(folder / f'{name}.json')]
        assert call_tool('test', config, str(folder / name), *given, '--cfg-options', *QUICK).returncode == 0
    return dict(seg=folder / 'seg', det=folder / 'det')


def opened(path: Path) -> Page:
    text = path.read_text().replace('script>', 'style>')
    (path.parent / 'opened.html').write_text(text)
    return Page(path.parent / 'opened.html')


@pytest.mark.parametrize(('kind', 'figure'), [('seg', 'mIoU'), ('det', 'coco/bbox_mAP')])
def test_figures_are_those_of_test(trained, kind: str, figure: str) -> None:
    work_dir = trained[kind]
    done = call_tool('report', str(work_dir))
    assert done.returncode == 0, done.stderr
    about = read_about(work_dir)
    tested = json.loads((work_dir.parent / f'{kind}.json').read_text())
    wanted = {name: value for name, value in tested.items() if 'time' not in name}
    assert about is not None and {n: v for n, v in about.metrics.items() if 'time' not in n} == wanted and figure in wanted
    page = opened(work_dir / 'report.html')
    assert 'The evaluator has' not in page.words  # what is counted of the kept maps is what the metric counted
    assert 'Curves' in page.headings and 'Numbers' in page.headings and f'{wanted[figure]:.2f}' in page.words
    assert (work_dir / 'model_card.md').read_text().startswith('---\nlibrary_name') and (work_dir / 'curves.png').is_file()
    assert len(about.pictures) == 5 and about.iteration > 0


def test_what_is_kept_is_not_predicted_again(trained) -> None:
    work_dir = trained['seg']
    assert call_tool('report', str(work_dir), '--again').returncode == 0
    stamp = (work_dir / FOLDER / ABOUT).stat().st_mtime_ns
    done = call_tool('report', str(work_dir))
    assert 'are there, 5 pictures' in done.stdout and (work_dir / FOLDER / ABOUT).stat().st_mtime_ns == stamp
    done = call_tool('report', str(work_dir), '--checkpoint', str(work_dir / 'iter_1.pth'))
    about = read_about(work_dir)
    assert about is not None and about.iteration == 1 and 'are there' not in done.stdout
    assert len(list((work_dir / FOLDER / 'maps').iterdir())) == 5


def test_a_copied_run_is_its_own(trained, tmp_path: Path) -> None:
    call_tool('report', str(trained['seg']))
    copy = tmp_path / 'copy'
    shutil.copytree(trained['seg'], copy)
    done = call_tool('report', str(copy))
    assert done.returncode == 0 and f'the predictions of {copy}/iter_2.pth are there' in done.stdout
    assert str(trained['seg']) not in (copy / 'model_card.md').read_text()


def test_data_that_have_changed_are_predicted_anew(trained) -> None:
    work_dir = trained['seg']
    call_tool('report', str(work_dir))
    path = work_dir / FOLDER / ABOUT
    content = json.loads(path.read_text())
    mask = next(name for name in content['files'] if '/annotations/' in name and name.endswith('.png'))
    content['files'][mask][0] += 1
    path.write_text(json.dumps(content))
    done = call_tool('report', str(work_dir))
    assert f'{mask} has changed since it was predicted on' in done.stdout
    assert 'are there, 5 pictures' in call_tool('report', str(work_dir)).stdout


def test_own_data(trained, tmp_path: Path, shapes: str) -> None:
    from layout_sets import toy, write_coco

    folder = tmp_path / 'mine'
    write_coco(folder, toy(tmp_path / 'toy'))
    done = call_tool('report', str(trained['det']), '--data', str(folder), '--val-share', '1')
    one_line(done.returncode, done.stderr, 'classes')  # others than it was trained on
    done = call_tool('report', str(trained['seg']), '--data', str(folder), '--task', 'instance')
    one_line(done.returncode, done.stderr, '--task instance: expected semantic')


def test_curves_alone(trained, tmp_path: Path) -> None:
    done = call_tool('report', str(a_run(tmp_path)), '--curves')
    assert done.returncode == 0 and (tmp_path / 'curves.png').is_file() and not (tmp_path / FOLDER).exists()
    assert opened(tmp_path / 'report.html').headings == ['Curves', 'Validations']


@pytest.mark.parametrize('kind', ['seg', 'det'])
def test_two_runs(trained, tmp_path: Path, shapes: str, kind: str) -> None:
    other = Path(shutil.copytree(trained[kind], tmp_path / 'copy'))
    out = tmp_path / 'both.html'
    done = call_tool('report', str(trained[kind]), str(other), '--out', str(out))
    assert done.returncode == 0, done.stderr
    assert re.search(r'no difference shown: copy minus (seg|det) is \+0.0', done.stdout)
    assert 'Time and memory' in opened(out).headings


def test_broken_detections(trained) -> None:
    call_tool('report', str(trained['det']))
    (trained['det'] / FOLDER / DETECTIONS).unlink()
    done = call_tool('report', str(trained['det']))
    one_line(done.returncode, done.stderr, '--again predicts anew')
    assert call_tool('report', str(trained['det']), '--again').returncode == 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['RUN', '--curves', '--again'], '--again: expected it without --curves, got both'),
        (['RUN', '--curves', '--checkpoint', 'x.pth'], '--checkpoint: expected it without --curves, got both'),
        (['RUN', 'RUN'], 'got one of them twice'),
        (['RUN', 'OTHER', '--hub', 'me/x'], '--hub: expected one work directory, got several'),
        (['RUN', '--out', 'GONE/x.html'], 'expected a file in an existing folder'),
        (['GONE'], 'expected the folder of a run, got .* which is not there'),
        (['EMPTY'], 'expected the log of a training run'),
        (['RUN', '--checkpoint', 'GONE.pth'], 'GONE.pth'),
        (['OTHER'], 'expected a checkpoint in'),
        (['RUN', '--data-root', 'GONE'], 'GONE'),
        (['RUN', '--layout', 'yolo'], '--layout: expected --data DIR'),
        (['SEG', 'DET'], 'expected runs of one kind'),
    ],
)
def test_wrong_inputs_are_one_line(trained, tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / 'EMPTY').mkdir()
    places = dict(
        RUN=str(trained['seg']), SEG=str(trained['seg']), DET=str(trained['det']), OTHER=str(a_run(tmp_path / 'OTHER'))
    )
    given = [places.get(one, str(tmp_path / one) if one.isupper() or one.startswith('GONE') else one) for one in options]
    done = call_tool('report', *given)
    one_line(done.returncode, done.stderr, message)


def test_a_run_without_its_config(tmp_path: Path) -> None:
    a_run(tmp_path)
    (tmp_path / '20260101_000000' / 'vis_data' / 'config.py').unlink()
    (tmp_path / 'iter_1.pth').touch()
    done = call_tool('report', str(tmp_path), '--checkpoint', str(tmp_path / 'iter_1.pth'))
    one_line(done.returncode, done.stderr, 'expected the config of the run in')
