"""The version is told, and is one that packages can have."""

from packaging.version import Version

import convnext_dense
from convnext_dense.version import __version__


def test_version_is_told() -> None:
    assert convnext_dense.__version__ is __version__
    assert str(Version(__version__)) == __version__
