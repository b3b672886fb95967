"""What is timed of evaluation gives equal results by every path, and masks that differ are no result."""

import pytest
from rich.table import Table

from convnext_dense.benchmark import evaluation
from convnext_dense.data.coco import BACKENDS


@pytest.fixture
def little(monkeypatch) -> Table:
    """Three scenes and four masks."""
    for name, value in dict(SCENES=3, PER_OBJECT=2, MASKS=4).items():
        monkeypatch.setattr(evaluation, name, value)
    return Table('work', 'rival', 'ms', 'range', 'x')


def test_both_backends_and_both_mask_heads_are_timed(little: Table) -> None:
    evaluation.evaluation(little, rounds=1)
    works, rivals = (list(column.cells) for column in little.columns[:2])
    assert rivals == [*BACKENDS, *BACKENDS, 'mmdet', 'ours', 'mmdet', 'ours']
    assert works[0].startswith('bbox AP of ') and works[2].startswith('segm AP of ')
    assert works[4] == '4 masks on 480x640' and works[6] == '4 masks on 1080x1920'


def test_masks_that_differ_stop_it(little: Table, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, 'our_masks', lambda size: [])
    with pytest.raises(RuntimeError, match=r'masks differ at \(480, 640\)'):
        evaluation.evaluation(little, rounds=1)


def test_pasted_masks_lie_in_the_image(little: Table) -> None:
    masks = evaluation.paste(evaluation.PasteMaskHead, 40, 60)
    assert masks.shape == (4, 40, 60) and masks.flatten(1).any(1).all() and not masks.flatten(1).all(1).any()
