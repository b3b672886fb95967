"""Lets a stock entry script of MMDetection or MMSegmentation start without compiled mmcv operators.

Those scripts import `mmcv.ops`, hence `mmcv._ext`, before they read a config and its `custom_imports`. Installing the package
puts a copy of this file, `_convnext_dense_autoload.py`, and a .pth line that imports it into site-packages: every Python of
that environment then has a finder at the end of `sys.meta_path`. It imports nothing until somebody asks for `mmcv._ext` and no
other finder has it, and only then `convnext_dense`, whose `ops` answers.

Switched off by CONVNEXT_DENSE_AUTOLOAD=0 in the environment. From a clone that is not installed:
`python -m convnext_dense SCRIPT ARGUMENTS`.
"""

import os
import sys

EXT = 'mmcv._ext'


class MmcvExtFinder:
    """A meta path finder that answers `mmcv._ext` and nothing else."""

    answers = EXT

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname != EXT:
            return None
        from convnext_dense import ops

        return ops.ext_spec()


def install():
    """Append the finder, once."""
    if not any(getattr(finder, 'answers', None) == EXT for finder in sys.meta_path):
        sys.meta_path.append(MmcvExtFinder)


if os.environ.get('CONVNEXT_DENSE_AUTOLOAD', '1') != '0':
    install()
