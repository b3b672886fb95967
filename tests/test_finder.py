"""Who answers for `mmcv._ext`, in any import order."""

import importlib.util
import subprocess
import sys

import forked
import pytest
import torch
from conftest import ROOT, needs_lite

from convnext_dense import ops
from convnext_dense.mmcv_ext.finder import EXT

mmcv_ops = pytest.importorskip('mmcv.ops')


@needs_lite
def test_other_operators_raise_on_call_and_name_themselves() -> None:
    assert ops.backend() == 'torchvision'
    with pytest.raises(NotImplementedError, match=r"'convex_iou'.*compiled operators"):
        mmcv_ops.convex_iou(torch.rand(2, 18), torch.rand(2, 8))


def run(code: str) -> str:
    done = forked.run(['-c', code], bare=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


FAILED = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if not hasattr(finder, 'answers')]  # of an installed package
try:
    import mmdet.models
except ModuleNotFoundError:
    pass
else:
    raise SystemExit('imported')
"""


@needs_lite
@pytest.mark.parametrize(
    'order',
    [
        'import convnext_dense, mmdet.models, mmseg.models',
        'import mmcv, mmdet, mmseg, convnext_dense, mmseg.models, mmdet.models',
        f'{FAILED}\nimport convnext_dense, mmdet.models, mmseg.models',
    ],
    ids=['first', 'after mmcv', 'after a failed import'],
)
@pytest.mark.slow
def test_any_import_order(order: str) -> None:
    code = f'{order}\nfrom mmdet.registry import MODELS as d\nfrom mmseg.registry import MODELS as s\n'
    assert run(code + "print(d.get('ConvNeXt') is s.get('ConvNeXt') is convnext_dense.ConvNeXt)") == 'True'


@pytest.mark.slow
def test_a_compiled_ext_is_used_untouched(tmp_path) -> None:
    # A finder that comes first, as the file system does where mmcv was compiled.
    (tmp_path / 'compiled.py').write_text('nms = "compiled"\n')
    code = f"""
import importlib.util, sys
class First:
    def find_spec(self, name, path=None, target=None):
        if name == 'mmcv._ext':
            return importlib.util.spec_from_file_location(name, {str(tmp_path / 'compiled.py')!r})
sys.meta_path.insert(0, First())
from convnext_dense import ops
import mmcv._ext
print(ops.backend(), mmcv._ext.nms)
"""
    assert run(code) == 'mmcv compiled'


@pytest.mark.slow
def test_import_is_silent_and_patches_one_finder() -> None:
    # -W takes the whole name of one module; here it is a pattern that its submodules match too.
    code = (
        "import sys, warnings; warnings.filterwarnings('error', module='convnext_dense')\n"
        'import convnext_dense; n = len(sys.meta_path); convnext_dense.ops.install(); print(len(sys.meta_path) - n)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)  # nothing imported before
    assert (done.stdout.strip(), done.stderr) == ('0', '')


def test_the_finder_comes_after_all_others(monkeypatch) -> None:
    others = [finder for finder in sys.meta_path if getattr(finder, 'answers', None) != EXT]
    monkeypatch.setattr(sys, 'meta_path', list(others))
    ops.install()
    assert sys.meta_path[:-1] == others and sys.meta_path[-1].answers == EXT
    assert sys.meta_path[-1].find_spec('mmcv.other') is None


def test_the_stand_in_is_no_package_and_has_no_other_private_names() -> None:
    module = importlib.util.module_from_spec(ops.ext_spec())
    assert not hasattr(module, '__path__') and not hasattr(module, '__wrapped__')
    assert callable(module.anything)
