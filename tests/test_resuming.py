"""Which training loops a run takes."""

import pytest
from mmengine.config import Config
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from convnext_dense.run.resuming import settle_loop


@pytest.mark.parametrize(
    'given, expected',
    [
        (dict(type='IterBasedTrainLoop', max_iters=3), 'ResumableIterLoop'),
        (dict(type='EpochBasedTrainLoop', max_epochs=3), 'ResumableEpochLoop'),
        (dict(type=EpochBasedTrainLoop, max_epochs=3), 'ResumableEpochLoop'),
        (dict(by_epoch=True, max_epochs=3), 'ResumableEpochLoop'),
        (dict(by_epoch=False, max_iters=3), 'ResumableIterLoop'),
    ],
)
def test_mmengine_s_loops_become_resumable(given: dict, expected: str) -> None:
    cfg = Config(dict(train_cfg=given))
    assert settle_loop(cfg) is None and cfg.train_cfg.type == expected and 'by_epoch' not in cfg.train_cfg
    assert settle_loop(cfg) is None and cfg.train_cfg.type == expected, 'once is enough'
    assert LOOPS.get(expected) is not None


def test_another_loop_stays_and_is_named() -> None:
    cfg = Config(dict(train_cfg=dict(type='mmdet.TeacherStudentLoop', max_iters=3)))
    line = settle_loop(cfg)
    assert cfg.train_cfg.type == 'mmdet.TeacherStudentLoop'
    assert line is not None and 'mmdet.TeacherStudentLoop is no loop that a resumed run continues exactly' in line
