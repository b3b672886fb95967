"""Exported files opened by their runtimes: what is no whole file, and what a runtime does not know, is one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from exported_files import description, logits_of, normalised, write
from models import photograph

from convnext_dense.errors import InputError
from convnext_dense.predict.exported_session import is_exported, open_session

SUFFIXES = ('.onnx', '.xml')


@pytest.fixture(scope='module', params=SUFFIXES)
def file(request, tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp('files') / f'detector{request.param}', description('detection'))


def test_names() -> None:
    assert is_exported('a.onnx') and is_exported(Path('b.XML'))
    assert not any(map(is_exported, ('a.pth', 'a.onnx.pth', 'work_dirs/onnx', None, 3)))


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('threads', [None, 1])
def test_outputs_by_name(suffix: str, threads: int | None, tmp_path: Path) -> None:
    """Also where OpenVINO has two names for one output, as of a cast that it leaves out."""
    session = open_session(write(tmp_path / f'a{suffix}', description(classes=['a', 'b'], palette=[[0] * 3] * 2)), threads)
    rgb = photograph(20, 30)
    found = session.run(rgb[None])
    assert set(found) == {'classes', 'logits'} and found['classes'].shape == (1, 20, 30)
    np.testing.assert_allclose(found['logits'][0], logits_of(normalised(rgb[..., ::-1]))[:1], atol=1e-5)
    assert '"segmentation"' in (session.text or '')


REPORTING = """
import sys
from types import ModuleType
import openvino_telemetry.backend.backend_ga4 as backend
sent = []
backend.GA4Backend.send = lambda self, message: sent.append(message)
sys.modules['convnext_dense'] = ModuleType('convnext_dense')  # without PyTorch
sys.modules['convnext_dense'].__path__ = [sys.argv[2]]
from convnext_dense.predict import exported_session
if sys.argv[1] == 'plain':
    from contextlib import nullcontext
    exported_session.unreported = nullcontext
exported_session.open_session(sys.argv[3])
import openvino
with exported_session.unreported():
    openvino.convert_model(sys.argv[4])
print(len(sent) > 0, 'torch' in sys.modules)
"""


def test_openvinos_makers_are_told_nothing(tmp_path: Path) -> None:
    """But would be otherwise; nothing leaves this computer either way."""
    pytest.importorskip('openvino_telemetry')
    files = [str(write(tmp_path / f'a{suffix}', description())) for suffix in ('.xml', '.onnx')]
    env = {name: value for name, value in os.environ.items() if name not in ('CI', 'TF_BUILD', 'JENKINS_URL')}
    for how, told in (('ours', 'False'), ('plain', 'True')):
        given = [sys.executable, '-c', REPORTING, how, str(ROOT / 'convnext_dense'), *files]
        done = subprocess.run(given, capture_output=True, text=True, cwd=ROOT, env={**env, 'HOME': str(tmp_path)})
        assert done.stdout.split() == [told, 'False'], done.stdout + done.stderr


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / 'folder.onnx').mkdir()
    for name, got in (('no.onnx', 'not there'), ('no.xml', 'not there'), ('folder.onnx', 'a folder')):
        with pytest.raises(InputError, match=f'expected an exported file, got .*{name} which is {got}'):
            open_session(tmp_path / name)


@pytest.mark.parametrize('part', [0, 0.5, 0.98])
def test_a_file_that_is_cut(file: Path, part: float, tmp_path: Path) -> None:
    whole = file.read_bytes()
    cut = tmp_path / file.name
    cut.write_bytes(whole[: int(len(whole) * part)])
    cut.with_suffix('.bin').write_bytes(b'')
    with pytest.raises(InputError, match=rf'model {cut}: expected .*; copy it again, or export it again'):
        open_session(cut)


def test_weights_that_are_cut_or_not_there(tmp_path: Path) -> None:
    file = write(tmp_path / 'a.xml', description('detection'))
    weights = file.with_suffix('.bin')
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match=r'expected a whole file, got one that openvino \S+ cannot read \(Incorrect weights'):
        open_session(file)
    weights.unlink()
    with pytest.raises(InputError, match=r'expected .*a.bin beside .*a.xml, which holds its weights; copy both'):
        open_session(file)


def test_another_file(tmp_path: Path) -> None:
    for name in ('a.onnx', 'a.xml'):
        (tmp_path / name).write_text('<html>not found</html>')
        (tmp_path / 'a.bin').touch()
        with pytest.raises(InputError, match=f'model .*{name}: expected .*; copy it again'):
            open_session(tmp_path / name)


def test_an_operator_that_the_runtime_lacks(file: Path, tmp_path: Path) -> None:
    new = tmp_path / file.name
    new.write_bytes(file.read_bytes().replace(b'"Gather"', b'"Bather"').replace(b'Identity', b'Identify'))
    if file.suffix == '.xml':
        shutil.copy(file.with_suffix('.bin'), tmp_path)
    with pytest.raises(
        InputError, match=r'expected operators of \w+ [\d.]+, got one that it lacks \(.*(Bather|Identify).*upgrade'
    ):
        open_session(new)


def test_a_layout_of_a_later_version(tmp_path: Path) -> None:
    import onnx

    file = write(tmp_path / 'a.onnx')
    for field, words in (('opset', 'Opset 99 is under development'), ('ir_version', 'Unsupported model IR version: 99')):
        model = onnx.load(file)
        if field == 'opset':
            model.opset_import[0].version = 99
        else:
            model.ir_version = 99
        onnx.save(model, tmp_path / 'b.onnx')
        with pytest.raises(InputError, match=rf'got a later one \(.*{words}.*\); upgrade onnxruntime') as error:
            open_session(tmp_path / 'b.onnx')
        assert 'onnxruntime::' not in str(error.value)


def test_an_input_that_does_not_fit(file: Path) -> None:
    with pytest.raises(InputError, match=r'stops at an input of uint8 \(1, 5, 5, 7\)') as error:
        open_session(file).run(np.zeros((1, 5, 5, 7), np.uint8))
    assert '\n' not in str(error.value)


def test_a_runtime_that_is_not_installed(file: Path, monkeypatch) -> None:
    name = {'.onnx': 'onnxruntime', '.xml': 'openvino'}[file.suffix]
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f'expected {name}, which cannot be imported .*; pip install {name}'):
        open_session(file)
