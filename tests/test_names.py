"""The names that the command offers before the libraries are imported are those of what there is."""

from convnext_dense.export.graphs import MASK
from convnext_dense.export.names import EIGHT_BITS, FORM_NAMES, MASKS, SUFFIXES
from convnext_dense.export.quantised import WAYS
from convnext_dense.export.runtimes import FORMS


def test_names() -> None:
    assert list(FORMS) == list(FORM_NAMES) and list(MASK) == list(MASKS)
    assert list(WAYS) == list(EIGHT_BITS)
    assert len(set(SUFFIXES.values())) == len(FORMS)
