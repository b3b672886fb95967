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
    # The maintained forks of these packages print warnings of their own before.
    said = run(code + "print(d.get('ConvNeXt') is s.get('ConvNeXt') is convnext_dense.ConvNeXt)")
    assert said.splitlines()[-1] == 'True'


COMPILED = """
import importlib.util, sys
class Compiled:
    def find_spec(self, name, path=None, target=None):
        if name == 'mmcv._ext':
            return importlib.util.spec_from_file_location(name, {file!r})
sys.meta_path.append(Compiled())  # as the file system is, after whoever guards
"""
IN_USE = 'print(ops.backend(), mmcv._ext.nms(torch.arange(6).view(2, 3).t()).tolist())'


@pytest.mark.slow
@pytest.mark.parametrize(
    'order',
    ['import mmcv._ext, torch\nfrom convnext_dense import ops', 'from convnext_dense import ops\nimport mmcv._ext, torch'],
)
def test_a_compiled_ext_is_used_with_contiguous_tensors(order: str, tmp_path) -> None:
    """Where it lies, as the file system has it where mmcv was compiled, whether it was imported before or after."""
    (tmp_path / 'compiled.py').write_text('def nms(x): assert x.is_contiguous(); return x + 1\n')
    code = COMPILED.format(file=str(tmp_path / 'compiled.py')) + f'{order}\n{IN_USE}'
    assert run(code) == 'mmcv [[1, 4], [2, 5], [3, 6]]'


@pytest.mark.slow
def test_an_ext_that_does_not_load_is_said_and_answered(tmp_path) -> None:
    (tmp_path / '_ext.so').write_bytes(b'of another PyTorch')
    code = (
        COMPILED.format(file=str(tmp_path / '_ext.so'))
        + 'from convnext_dense import ops\nimport mmcv.ops\nprint(ops.backend())'
    )
    done = forked.run(['-c', code], bare=True)
    assert done.stdout.strip() == 'torchvision', done.stderr
    lines = [line for line in done.stderr.splitlines() if '_ext.so' in line]
    assert len(lines) == 1 and 'does not load with PyTorch' in lines[0] and 'install mmcv-lite' in lines[0]


@pytest.mark.slow
def test_import_is_silent_and_patches_one_finder() -> None:
    # -W takes the whole name of one module; here it is a pattern that its submodules match too.
    code = (
        "import sys, warnings; warnings.filterwarnings('error', module='convnext_dense')\n"
        'import convnext_dense; n = len(sys.meta_path); convnext_dense.ops.install(); print(len(sys.meta_path) - n)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)  # nothing imported before
    assert (done.stdout.strip(), done.stderr) == ('0', '')


def test_the_finder_comes_before_the_file_system(monkeypatch) -> None:
    others = [finder for finder in sys.meta_path if getattr(finder, 'answers', None) != EXT]
    monkeypatch.setattr(sys, 'meta_path', list(others))
    ops.install()
    ops.install()
    assert sys.meta_path[1:] == others and sys.meta_path[0].answers == EXT
    assert sys.meta_path[0].find_spec('mmcv.other') is None


def test_a_finder_of_an_earlier_version_comes_last_and_is_not_enough(monkeypatch) -> None:
    others = [finder for finder in sys.meta_path if getattr(finder, 'answers', None) != EXT]
    earlier = type('Earlier', (), {'answers': EXT})
    monkeypatch.setattr(sys, 'meta_path', [*others, earlier])
    ops.install()
    assert sys.meta_path[0].answers == EXT and sys.meta_path[-1] is earlier


def test_the_stand_in_is_no_package_and_has_no_other_private_names() -> None:
    module = importlib.util.module_from_spec(ops.ext_spec())
    assert not hasattr(module, '__path__') and not hasattr(module, '__wrapped__')
    assert callable(module.anything)
