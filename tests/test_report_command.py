"""The options of `report`, and where it writes; from logs and predictions that are made by hand."""

import json
import shutil
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from evaluations import segmented
from logs import a_run

from convnext_dense.commands import report
from convnext_dense.commands.report import main
from convnext_dense.errors import InputError
from convnext_dense.report.evaluate import asked_for
from convnext_dense.report.evaluated import FOLDER, read_about
from convnext_dense.report.log import Log, read_log
from convnext_dense.report.run_page import run_page
from convnext_dense.run.own_options import SHARE


def called(monkeypatch, *words: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['report', *map(str, words)])
    main()


@pytest.fixture
def read_only(monkeypatch) -> None:
    """Work directories that nothing can be written into; tests may run as root, whom no permission stops."""

    def refused(option: str, folder: str) -> None:
        raise InputError(f'{option}: {folder} is read-only')

    monkeypatch.setattr(report, 'check_folder', refused)


@pytest.mark.parametrize(
    'words',
    [
        ['--checkpoint', 'a.pth'],
        ['--again'],
        ['--data-root', 'x'],
        ['--val-ann', 'x.json'],
        ['--data', 'x'],
        ['--data', 'x', '--classes', 'a,b'],
        ['--hub', 'me/x'],
        ['--data-name', 'x'],
    ],
)
def test_what_curves_would_ignore_is_refused(words: list[str], tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(InputError, match=f'^{words[0]}: expected it without --curves, got both; leave out one of them$'):
        called(monkeypatch, a_run(tmp_path), '--curves', *words)
    assert not (tmp_path / 'report.html').exists()


@pytest.mark.parametrize('words', [['--checkpoint', 'a.pth'], ['--hub', 'me/x'], ['--data-name', 'x'], ['--curves']])
def test_what_a_comparison_would_ignore_is_refused(words: list[str], tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(InputError, match=f'^{words[0]}: expected one work directory, got several'):
        called(monkeypatch, a_run(tmp_path / 'a'), a_run(tmp_path / 'b'), *words)


def test_what_is_written_lies_beside_the_page(tmp_path: Path, monkeypatch) -> None:
    a_run(tmp_path / 'run')
    (tmp_path / 'pages').mkdir()
    called(monkeypatch, tmp_path / 'run', '--curves', '--out', tmp_path / 'pages' / 'a.html')
    assert sorted(path.name for path in (tmp_path / 'pages').iterdir()) == ['a.html', 'curves.png']
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['20260101_000000']


def test_a_page_that_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    (a_run(tmp_path / 'run') / 'report.html').mkdir()
    with pytest.raises(InputError, match=r'^WORK_DIR: expected a file, got .* which is a folder; name another, by --out$'):
        called(monkeypatch, tmp_path / 'run', '--curves')
    with pytest.raises(InputError, match=r'^--out: expected a file in an existing folder'):
        called(monkeypatch, tmp_path / 'run', '--curves', '--out', tmp_path / 'gone' / 'a.html')


def test_curves_leave_the_error_report(tmp_path: Path, monkeypatch) -> None:
    page = a_run(tmp_path) / 'report.html'
    page.write_text(run_page(read_log(tmp_path), ['<h2>Numbers</h2>']))
    called(monkeypatch, tmp_path, '--curves')
    assert '<h2>Numbers</h2>' in page.read_text() and 'as an earlier page had it' in page.read_text()
    assert (tmp_path / 'curves.png').is_file()


def of_the_same_pictures(tmp_path: Path) -> None:
    asked = json.dumps(asked_for(Namespace(val_share=SHARE)), sort_keys=True)
    for name, share in (('a', 0.6), ('b', 0.1)):
        about = segmented(tmp_path / name, share, photos=tmp_path / 'photos', data=asked)
        (tmp_path / name / 'last_checkpoint').write_text(about.checkpoint)


def test_two_runs_that_are_read_only(tmp_path: Path, monkeypatch, read_only, capsys) -> None:
    of_the_same_pictures(tmp_path)
    called(monkeypatch, tmp_path / 'a', tmp_path / 'b', '--out', tmp_path / 'both.html')
    said = capsys.readouterr().out
    assert 'b is better by' in said and 'warning' not in said and 'b is better by' in (tmp_path / 'both.html').read_text()


def test_what_a_read_only_run_predicts_is_not_kept_and_said_once(tmp_path: Path, monkeypatch, read_only, capsys) -> None:
    of_the_same_pictures(tmp_path)
    for name in 'ab':
        shutil.move(tmp_path / name / FOLDER, tmp_path / f'{name}_kept')
    places = []

    def predict(log: Log, args: Namespace, say, place: Path):
        places.append(place)
        shutil.copytree(tmp_path / f'{log.folder.name}_kept', place / FOLDER)
        return read_about(place)

    monkeypatch.setattr(report, 'evaluate', predict)
    called(monkeypatch, tmp_path / 'a', tmp_path / 'b', '--out', tmp_path / 'both.html')
    said = capsys.readouterr().out
    assert said.count('warning: ') == 2 and f'{tmp_path / "a"} cannot be written to' in said and 'b is better by' in said
    assert len(places) == 2 and not any(place.exists() for place in places)
    assert not (tmp_path / 'a' / FOLDER).exists()


def test_names_that_are_no_utf_8(tmp_path: Path, monkeypatch, capsys) -> None:
    run = a_run(tmp_path / 'b\udcff')
    called(monkeypatch, run, '--curves')
    assert 'b\\udcff' in (run / 'report.html').read_text() and 'b\\udcff/report.html' in capsys.readouterr().out
