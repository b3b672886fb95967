"""The runner of a test is built from a config that also trains, and says what was settled."""

from pathlib import Path

from conftest import QUICK, SHAPES
from mmengine.config import DictAction

from convnext_dense.run.launch import prepare
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta
from convnext_dense.run.testing import build_test_runner


def test_a_runner_that_tests_alone(tmp_path: Path, shapes: str, segmentor_file: str) -> None:
    from argparse import Namespace

    overrides = {pair.partition('=')[0]: DictAction._parse_int_float_bool(pair.partition('=')[2]) for pair in QUICK}
    cfg = load_config(SHAPES, overrides, shapes)
    cfg.work_dir, cfg.load_from = str(tmp_path), segmentor_file
    lines = prepare(cfg, Namespace(launcher='none', local_rank=0, seed=0))
    runner = build_test_runner(cfg, build_on_meta(cfg), [*lines, 'told once'])
    assert runner._train_loop is None and runner._val_loop is None
    assert 'mIoU' in runner.test()
    (log,) = tmp_path.glob('*/*.log')
    assert log.read_text().count('told once') == 1
