"""Whether a run came to its end."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config

from convnext_dense.run.finished import NAME, finished, mark_finished, unmark


@pytest.mark.parametrize('length', [dict(max_iters=8), dict(max_epochs=4)])
def test_a_run_is_finished_by_its_file_and_its_checkpoint(tmp_path, length: dict) -> None:
    cfg = Config(dict(work_dir=str(tmp_path), train_cfg=length))
    content = dict(meta=dict(iter=8, epoch=4))
    assert finished(cfg, content) is None, 'there is no file'
    mark_finished(SimpleNamespace(iter=8, epoch=4), cfg)  # type: ignore[arg-type]
    assert 'is finished after 8 iterations: nothing is left to do' in str(finished(cfg, content))
    assert finished(cfg, dict(meta=dict(iter=6))) is None, 'an earlier checkpoint was asked for'
    assert finished(cfg, {}) is None
    longer = Config(dict(work_dir=str(tmp_path), train_cfg={key: 2 * value for key, value in length.items()}))
    assert finished(longer, content) is None
    unmark(str(tmp_path))
    unmark(str(tmp_path))
    assert finished(cfg, content) is None


@pytest.mark.parametrize('text', ['', '[]', '{', '{"iterations": 8}'])
def test_a_spoilt_file_says_nothing(tmp_path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    assert finished(Config(dict(work_dir=str(tmp_path), train_cfg=dict(max_iters=8))), dict(meta=dict(iter=8))) is None
