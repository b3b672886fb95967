"""A file's answers beside PyTorch's: one at a time, and in a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convnext_dense import InputError
from convnext_dense.export import proof as proof_module
from convnext_dense.export.proof import answers, proof
from convnext_dense.export.runtimes import FORMS


class Brightness:
    """A model whose logits are the picture's, and whose class is the brightest channel."""

    def taken(self, rgb: np.ndarray) -> np.ndarray:
        return rgb[None]

    def answer(self, rgb: np.ndarray) -> list[np.ndarray]:
        return brightest(rgb[None])


def brightest(images: np.ndarray) -> list[np.ndarray]:
    return [images.argmax(-1), images.transpose(0, 3, 1, 2).astype(np.float32)]


def photographs() -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(name, rng.integers(0, 256, (*size, 3), np.uint8)) for name, size in (('a', (9, 8)), ('b', (5, 6)))]


def test_a_batch_is_one_of_the_answers() -> None:
    reference: Any = Brightness()
    assert [answer.name for answer in answers(reference, photographs(), False)] == ['a', 'b']
    *single, both = answers(reference, photographs(), True)
    assert [answer.taken.shape for answer in single] == [(1, 9, 8, 3), (1, 5, 6, 3)]
    assert both.name == 'b and its mirror' and both.size == (5, 6) and both.taken.shape == (2, 5, 6, 3)
    assert np.array_equal(both.taken[1], both.taken[0, :, ::-1]) and both.theirs[0].shape == (2, 5, 6)
    assert list(answers(reference, [], True)) == []


@pytest.mark.parametrize('wrong', [False, True])
def test_a_file_that_mixes_the_pictures_of_a_batch_is_found(wrong: bool, monkeypatch) -> None:
    """Each picture alone is right."""
    order = slice(None, None, -1 if wrong else 1)
    form = FORMS['onnx']._replace(run=lambda path: lambda images: [part[order] for part in brightest(images)])
    monkeypatch.setitem(FORMS, 'onnx', form)
    reference: Any = Brightness()
    said: list[str] = []
    rows = proof('onnx', Path('a.onnx'), list(answers(reference, photographs(), True)), None, said.append, 'onnx int8')
    assert [row.within for row in rows] == [True, True, not wrong]
    assert said[0].startswith('onnx int8: a at 9x8: ') and said[2].startswith('onnx int8: b and its mirror at 5x6: ')


@pytest.mark.parametrize('error', [RuntimeError, InputError])
def test_a_size_that_a_file_does_not_take(error: type[Exception], monkeypatch) -> None:
    def run(images: np.ndarray) -> list[np.ndarray]:
        raise error('no such size')

    monkeypatch.setitem(proof_module.FORMS, 'onnx', FORMS['onnx']._replace(run=lambda path: run))
    reference: Any = Brightness()
    said: list[str] = []
    rows = proof('onnx', Path('a.onnx'), list(answers(reference, photographs(), False)), None, said.append)
    assert said[0] == 'onnx: a at 9x8: the file does not take it (no such size)'
    assert [row.within for row in rows] == [False, False] and rows[1].row()['reason'] == 'no such size'
