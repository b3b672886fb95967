"""A model from what there is; exported files where PyTorch is not, and without importing it where it is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, one_line
from exported_files import description, write
from models import photograph, write_photograph
from PIL import Image

from convnext_dense.errors import InputError
from convnext_dense.predict.exported_model import ExportedModel
from convnext_dense.predict.loading import load_model, opened_file
from convnext_dense.predict.model import Model
from convnext_dense.predict.writers import FORMATS

LIBRARIES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg')
# As where they are not installed.
REFUSED = f"""
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {LIBRARIES}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Refused())
"""
COMMAND = 'import sys, convnext_dense_cli; sys.argv = ["convnext-dense", *sys.argv[1:]]; convnext_dense_cli.main()'


def run(code: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Code in a process of its own, from this clone."""
    env = {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-c', code, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_by_what_is_given(segmentor_file: str, tmp_path: Path) -> None:
    file = write(tmp_path / 'm.onnx')
    assert isinstance(load_model(segmentor_file), Model)
    assert isinstance(load_model(file), ExportedModel) and isinstance(load_model(str(file), threads=1), ExportedModel)
    assert opened_file('a.xml') == 'a.xml' and opened_file(segmentor_file) == segmentor_file
    with pytest.raises(InputError, match='threads: expected an exported file with it, got a checkpoint; for PyTorch set OMP'):
        load_model(segmentor_file, threads=1)


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(device='cuda'), 'device: expected auto or cpu for the exported file .*m.onnx, got .cuda.; leave it out'),
        (dict(precision='bfloat16'), 'precision: expected float32 for'),
        (dict(tta=True), 'tta: expected a checkpoint in place of'),
        (dict(tile='auto'), 'tile: expected a checkpoint in place of the exported file .*m.onnx, got .auto.; leave it out'),
        (dict(tile=512), 'tile: expected a checkpoint in place of'),
        (dict(overlap=0.5), 'overlap: expected a checkpoint in place of'),
        (dict(bands=(0, 1, 2)), 'bands: expected a checkpoint in place of'),
        (dict(threads=0), 'threads: expected a whole number'),
    ],
)
def test_options_that_are_a_checkpoints(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        load_model(write(tmp_path / 'm.onnx'), **options)


def test_a_config_for_an_exported_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='config: expected none for the exported file .*m.onnx'):
        load_model('config.py', write(tmp_path / 'm.onnx'))


@pytest.mark.parametrize('task', ['segmentation', 'detection'])
def test_predicting_without_pytorch(task: str, tmp_path: Path) -> None:
    """The command and the function, with every format of files; the same as with PyTorch."""
    picture = write_photograph(tmp_path / 'in/a.png', 61, 83)
    file, out = write(tmp_path / 'm.onnx', description(task)), tmp_path / 'out'
    done = run(REFUSED + COMMAND, 'predict', str(file), str(picture.parent), '--out', str(out), '--format', *FORMATS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == '' and '1 pictures in' in done.stdout
    folders = {'pictures', 'masks', 'json', 'labelme', 'npz', 'geojson', 'classes.json', 'coco.json', 'predictions.csv'}
    assert {path.name for path in out.iterdir()} == folders | {'journal.jsonl'}
    ours = load_model(file)(str(picture))
    assert np.array_equal(np.asarray(Image.open(out / 'masks/a.png')), ours.class_map())
    code = 'import sys, convnext_dense; print(convnext_dense.load_model(sys.argv[1])(sys.argv[2]).to_json())'
    done = run(REFUSED + code, str(file), str(picture))
    assert json.loads(done.stdout) == ours.to_dict(), done.stderr


def test_what_needs_pytorch_is_one_line_without_it(tmp_path: Path) -> None:
    picture = str(write_photograph(tmp_path / 'a.png'))
    (tmp_path / 'm.pth').touch()
    for arguments, words in (
        (
            ['predict', str(tmp_path / 'm.pth'), picture, '--out', 'out'],
            r'expected an exported file \(.onnx, .xml\) where torch',
        ),
        (['train', 'upernet_convnext_atto_shapes'], 'train: expected [a-z]+, which is not installed; install requirements.txt'),
    ):
        done = run(REFUSED + COMMAND, *arguments, cwd=tmp_path)
        one_line(done.returncode, done.stderr, words)
    code = """
import convnext_dense
print(convnext_dense.InputError.__name__, convnext_dense.__version__)
try:
    from convnext_dense import ConvNeXt
except ImportError as error:
    print(error)
print(hasattr(convnext_dense, 'nonsense'))
"""
    done = run(REFUSED + code)
    assert done.returncode == 0 and done.stdout.startswith('InputError 0') and done.stdout.endswith('False\n')
    assert 'convnext_dense.ConvNeXt needs torch, which is not installed: install requirements.txt; without it' in done.stdout


def test_pytorch_is_not_imported_for_an_exported_file(tmp_path: Path) -> None:
    told = f'import atexit, sys; atexit.register(lambda: print([name for name in {LIBRARIES} if name in sys.modules]));'
    file, picture = write(tmp_path / 'm.onnx'), write_photograph(tmp_path / 'a.png')
    done = run(told + COMMAND, 'predict', str(file), str(picture), '--out', str(tmp_path / 'out.png'))
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == '[]', done
    assert Image.open(tmp_path / 'out.png').size == (80, 60)
    done = run(told + COMMAND, 'predict', str(tmp_path / 'none.xml'), str(picture), '--out', str(tmp_path / 'out.png'))
    one_line(done.returncode, done.stderr, 'expected an exported file, got .*none.xml which is not there')
    assert done.stdout.splitlines()[-1] == '[]'


def test_the_same_without_the_pictures(tmp_path: Path) -> None:
    """Pictures in memory, of the kinds that there are without PyTorch."""
    model, rgb = load_model(write(tmp_path / 'm.onnx')), photograph(40, 52)
    assert np.array_equal(model(rgb).mask, model(Image.fromarray(rgb)).mask)
