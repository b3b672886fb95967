"""What answers on pictures, whatever computes the answer: the order, the batches, what cannot be read, what is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import photograph, write_photograph
from results import CLASSES, PALETTE

from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import InputError
from convnext_dense.predict.inputs import Item
from convnext_dense.predict.predictor import Predictor, Prepared, chosen_classes
from convnext_dense.predict.result import NOTHING, Result


class Bright(Predictor):
    """Class 1 where a picture is bright, else 2; it refuses those that are higher than wide."""

    def __init__(self, **options: Any) -> None:
        super().__init__(CLASSES, PALETTE, True, **options)
        self.batches: list[int] = []

    def prepare(self, item: Item) -> Prepared:
        try:
            is_file = isinstance(item.given, str)
            bgr = self._opened(item, lambda path: photograph(20, 30)) if is_file else item.given
        except UnreadableError as error:
            return Prepared(item, np.empty((0, 0, 3), np.uint8), None, str(error))
        return Prepared(item, bgr, bgr)

    def _predicted(self, batch: Sequence[Prepared]) -> Sequence[Result | str]:
        self.batches.append(len(batch))
        return [self._result(one) if one.data.shape[0] <= one.data.shape[1] else 'stands upright' for one in batch]

    def _result(self, one: Prepared) -> Result:
        mask = np.where(one.data.mean(2) > 127, 1, 2).astype(np.uint8)
        return Result(**self._common(one), mask=self._kept(mask))

    def _shape(self, one: Prepared) -> Any:
        return one.data.shape

    def _where(self) -> str:
        return 'by hand'

    def rows(self, picture: Any) -> Any:
        raise NotImplementedError


def test_one_several_and_many(tmp_path: Path) -> None:
    path = write_photograph(tmp_path / 'a.png')
    model = Bright()
    assert isinstance(model(str(path)), Result) and isinstance(model([str(path)]), list)
    assert [result.name for result in model(str(tmp_path))] == ['a']
    assert repr(model) == 'Bright(segmentor of 3 classes by hand)'


def test_pictures_of_equal_size_are_computed_together() -> None:
    sizes = [(20, 30)] * 3 + [(10, 30)] + [(20, 30)] * 2
    model = Bright(batch_size=2)
    found = model([photograph(*size) for size in sizes])
    assert [result.size for result in found] == sizes and model.batches == [2, 1, 1, 2]


def test_what_cannot_be_read_is_told_in_order(tmp_path: Path) -> None:
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    write_photograph(tmp_path / 'whole.jpg')
    told: list[str] = []
    given = [str(tmp_path / 'broken.jpg'), photograph(30, 20), str(tmp_path / 'whole.jpg')]
    names = [result.name for result in Bright().stream(given, lambda item, why: told.append(f'{item.name} {why}'))]
    assert names == ['whole'] and told[0].startswith('broken cannot be read') and told[1] == '000001 stands upright'
    with pytest.raises(InputError, match='picture: stands upright'):
        Bright()(photograph(30, 20))


def test_chosen_classes() -> None:
    assert chosen_classes(None, CLASSES) is None and chosen_classes(['hen', 'cat'], CLASSES) == (2, 0)
    found = Bright(chosen=(2,))(photograph(20, 30))
    assert set(found.pixels) == {2} and (found.mask == NOTHING).any()
    with pytest.raises(InputError, match=r"expected names of the model, got 'hem'; did you mean 'hen'"):
        chosen_classes(['hem'], CLASSES)
    with pytest.raises(InputError, match='expected a list of names, got the text'):
        chosen_classes('hen', CLASSES)


def test_scores_and_classes_of_objects() -> None:
    model = Bright(score=0.5, chosen=(0, 1))
    assert model._wanted(np.array([0.9, 0.5, 0.4, 0.8]), np.array([0, 1, 1, 2])).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    'options, words', [(dict(batch_size=0), 'batch_size'), (dict(score=-1), 'score'), (dict(score=2), 'from 0 to 1')]
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Bright(**options)
