"""The photograph is predicted by both paths at its own size, and the table compares their memory."""

import pytest
from mmengine.registry import init_default_scope
from segmentors import segmentor

from convnext_dense.benchmark import photograph
from convnext_dense.benchmark.contest import OURS
from convnext_dense.benchmark.rivals import Contender
from convnext_dense.text import table_text


def test_a_table_of_every_case_and_path(monkeypatch) -> None:
    asked = []
    answers = {OURS: (1.25, 2**30), 'mmseg': (3.5, 3 * 2**30)}
    monkeypatch.setattr(photograph, 'answer_of', lambda module, case, path: asked.append((module, case, path)) or answers[path])
    text = table_text(photograph.photograph())
    assert asked == [(photograph.__name__, case, path) for case in photograph.CASES for path in photograph.PATHS]
    rows = [[cell.strip() for cell in line.strip('|').split('|')][1:] for line in text.splitlines() if ' | ' in line][1:]
    assert rows == [[OURS, '1.2', '1.00', '1.00'], ['mmseg', '3.5', '3.00', '0.33']] * len(photograph.CASES)


@pytest.mark.parametrize('mode', ['slide', 'whole'])
@pytest.mark.parametrize('lean', [True, False], ids=['ours', 'mmseg'])
def test_classes_of_the_whole_photograph(lean: bool, mode: str, monkeypatch) -> None:
    init_default_scope('mmseg')
    seen = []
    model = segmentor(lean, mode='whole', crop_size=(64, 64), stride=(43, 43))
    predict = model.predict
    monkeypatch.setattr(model, 'predict', lambda *args: seen.append(predict(*args)) or seen[-1])
    monkeypatch.setattr(photograph, 'PHOTOGRAPH', (90, 120))
    monkeypatch.setitem(photograph.CASES, 'case', ((64, 96), mode))
    monkeypatch.setitem(photograph.PATHS, 'path', lambda: Contender(model, None))
    seconds, peak = photograph.predict('case', 'path')
    assert seconds > 0 and peak > 2**20 and model.test_cfg.mode == mode
    ((sample,),) = seen
    assert sample.pred_sem_seg.data.shape == (1, 90, 120)
