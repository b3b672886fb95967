"""Logs of runs that stopped, went on, began anew, and were cut in the middle of a line."""

import re
from pathlib import Path

import pytest
from logs import a_run, train_row, val_row, write_start

from convnext_dense.errors import InputError
from convnext_dense.report.log import losses, read_log
from convnext_dense.training.work_dir_lock import work_dir_lock


def test_one_start(tmp_path: Path) -> None:
    log = read_log(a_run(tmp_path))
    assert log.values('loss')[0] == list(range(10, 101, 10)) and log.values('mIoU', val=True) == ([50, 100], [80.0, 75.0])
    assert log.metrics[0] == 'mIoU' and log.best('mIoU') == (50, 80.0) and log.iteration == 100 and not log.told
    assert losses([log]) == ['decode.loss_ce', 'aux.loss_ce'] and log.folders == [tmp_path / '20260101_000000']


def test_what_is_gone_on_with_takes_the_place_of_later_lines(tmp_path: Path) -> None:
    a_run(tmp_path)
    write_start(tmp_path, '20260102_000000', [train_row(80, loss=9.0), train_row(90), val_row(100, 70.0), train_row(110)])
    log = read_log(tmp_path)
    assert log.values('loss')[0] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 110] and log.values('loss')[1][7] == 9.0
    assert log.values('mIoU', val=True) == ([50, 100], [80.0, 70.0]) and log.starts == [80]


def test_a_run_begun_anew_is_alone(tmp_path: Path) -> None:
    a_run(tmp_path)
    write_start(tmp_path, '20260102_000000', [train_row(10, loss=5.0)])
    log = read_log(tmp_path)
    assert log.values('loss') == ([10], [5.0]) and not log.val and not log.starts


def test_cut_lines_are_left_out_and_told(tmp_path: Path) -> None:
    write_start(tmp_path, '20260101_000000', [train_row(10)], rest='{"loss": 1.0, "st')
    write_start(tmp_path, '20260102_000000', [train_row(20)], rest='\x00\xff not json\n[1, 2]\n')
    log = read_log(tmp_path)
    assert log.values('loss')[0] == [10, 20]
    assert re.search('1 line that is no whole JSON', log.told[0]) and '2 lines that are' in log.told[1]


def test_a_test_is_no_start(tmp_path: Path) -> None:
    a_run(tmp_path)
    write_start(tmp_path, '20260103_000000', [])
    assert len(read_log(tmp_path).folders) == 1


def test_by_epoch(tmp_path: Path) -> None:
    rows = [train_row(50, epoch=1), {'coco/bbox_mAP': 0.3, 'coco/segm_mAP': 0.2, 'step': 1}, train_row(100, epoch=2)]
    write_start(tmp_path, '20260101_000000', rows)
    log = read_log(tmp_path)
    assert log.values('coco/segm_mAP', val=True) == ([50], [0.2]) and log.metrics[0] == 'coco/segm_mAP'


def test_by_epoch_a_resumed_run_evaluates_before_its_first_line_of_training(tmp_path: Path) -> None:
    def epoch(number: int, figure: float) -> list[dict]:
        return [train_row(50 * number - 25, epoch=number), train_row(50 * number, epoch=number), evaluated(number, figure)]

    def evaluated(number: int, figure: float) -> dict:
        return {'coco/bbox_mAP': figure, 'step': number}

    write_start(tmp_path, '20260101_000000', [*epoch(1, 0.1), *epoch(2, 0.2), train_row(125, epoch=3)])
    write_start(tmp_path, '20260102_000000', [evaluated(2, 0.25), *epoch(3, 0.15)])
    log = read_log(tmp_path)
    assert log.values('coco/bbox_mAP', val=True) == ([50, 100, 150], [0.1, 0.25, 0.15])
    assert log.best('coco/bbox_mAP') == (100, 0.25) and log.val[1]['epoch'] == 2 and log.starts == [125]
    # Logged at other iterations, killed while it evaluated, and in a folder that lacks the first start.
    write_start(tmp_path, '20260103_000000', [evaluated(3, 0.3)])
    assert read_log(tmp_path).values('coco/bbox_mAP', val=True) == ([50, 100, 150], [0.1, 0.25, 0.3])
    write_start(tmp_path / 'new', '20260103_000000', [evaluated(3, 0.3), train_row(160, epoch=4)])
    assert read_log(tmp_path / 'new').values('coco/bbox_mAP', val=True) == ([159], [0.3])


def test_by_iteration_an_evaluation_that_is_made_again_is_one_row(tmp_path: Path) -> None:
    a_run(tmp_path)
    write_start(tmp_path, '20260102_000000', [val_row(50, 81.0), train_row(60), train_row(70)])
    log = read_log(tmp_path)
    assert log.values('mIoU', val=True) == ([50], [81.0]) and log.best('mIoU') == (50, 81.0)
    write_start(tmp_path, '20260103_000000', [val_row(50, 82.0)])  # killed before its first line of training
    assert read_log(tmp_path).values('mIoU', val=True) == ([50], [82.0]) and read_log(tmp_path).iteration == 70


def test_what_is_not_finite_is_a_gap(tmp_path: Path) -> None:
    write_start(tmp_path, '20260101_000000', [train_row(10, loss=float('nan')), train_row(20), val_row(20, float('nan'))])
    log = read_log(tmp_path)
    assert str(log.values('loss')[1][0]) == 'nan' and log.best('mIoU') is None


def test_states(tmp_path: Path) -> None:
    log = read_log(a_run(tmp_path))
    assert log.state == 'stopped'
    with work_dir_lock(tmp_path):
        assert log.state == 'running'
        (tmp_path / 'finished').write_text('{}')  # as its last act
        assert log.state == 'finished'
    assert log.state == 'finished'


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda path: None, 'which is not there'),
        (lambda path: path.write_text(''), 'which is a file'),
        (lambda path: path.mkdir(), r'found none in .*\(nothing\)'),
        (lambda path: write_start(path, '20260101_000000', []), 'files without a line of training'),
    ],
)
def test_no_log(tmp_path: Path, make, message: str) -> None:
    make(tmp_path / 'run')
    with pytest.raises(InputError, match=message):
        read_log(tmp_path / 'run')
