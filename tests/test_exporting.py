"""`convnext-dense export`: files that are proved, and none that are not."""

import json
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from conftest import ROOT, call_tool, one_line

from convnext_dense.errors import InputError
from convnext_dense.export.runtimes import FORMS
from convnext_dense.files import sha256
from convnext_dense.predict.exported_session import open_session


def export(model: str, out: Path, *more: str):
    return call_tool('export', model, '--to', 'torchscript', '--out', str(out), *more)


@pytest.mark.slow
def test_a_file_with_its_proof(segmentor_file: str, shapes: str, tmp_path: Path) -> None:
    done = export(segmentor_file, tmp_path / 'toy.ts', '--check', f'{shapes}/images/validation')
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {'toy.ts', 'toy.json'}
    about = json.loads((tmp_path / 'toy.json').read_text())
    kept = about['files']['torchscript']
    assert about['sha256'] == sha256(segmentor_file) and about['classes'][0] == 'ground' and about['input']['size'] == 'dynamic'
    assert kept['bytes'] == (tmp_path / 'toy.ts').stat().st_size and len(kept['parity']) == 13
    assert all(row['logits'] < 1e-5 and row['pixels'] > 0.9999 for row in kept['parity'])
    assert done.stdout.count('of the pixels are equal') == 13 and 'all 13 comparisons are within' in done.stdout
    assert about['bounds'] == dict(logits=1e-4, pixels=0.9999) and all(row['within'] for row in kept['parity'])
    assert kept['parity'][-1]['picture'].endswith(' and its mirror')
    again = FORMS['torchscript'].run(tmp_path / 'toy.ts')(np.zeros((1, 64, 65, 3), np.uint8))
    assert again[0].shape == (1, 64, 65)


@pytest.mark.slow
@pytest.mark.parametrize('more', [(), ('--masks', 'full'), ('--raw', '--size', '96x130')])
def test_a_detector(more: tuple[str, ...], detector_file: str, shapes: str, tmp_path: Path) -> None:
    done = export(detector_file, tmp_path / 'toy.ts', '--check', f'{shapes}/images/validation', *more)
    assert done.returncode == 0, done.stdout + done.stderr
    about = json.loads((tmp_path / 'toy.json').read_text())
    assert about['task'] == 'detection' and about['masks'] == ('full' if 'full' in more else 'crop')
    assert about['resize'] == dict(scale=[192, 192], keep_ratio=True) and about['raw'] is ('--raw' in more)
    assert about['input'] == dict(
        name='image',
        layout='BCHW' if about['raw'] else 'BHWC',
        type='float32' if about['raw'] else 'uint8',
        colour='RGB',
        size=[96, 130] if about['raw'] else 'dynamic',
        least=1,
        batch=1,
    )
    rows = about['files']['torchscript']['parity']
    assert about['bounds'] == dict(boxes=0.01, scores=1e-3, masks=1e-3, unmatched=0)
    assert len(rows) == (4 if about['raw'] else 12) and all(row['objects'] and row['masks'] is not None for row in rows)


@pytest.mark.slow
def test_eight_bits(segmentor_file: str, shapes: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the config's data is not
    pictures = f'{shapes}/images/validation'
    done = call_tool(
        'export',
        segmentor_file,
        '--to',
        'onnx',
        '--out',
        'toy.onnx',
        '--size',
        '64x96',
        '--int8',
        pictures,
        '--check',
        pictures,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {'toy.onnx', 'toy_int8.onnx', 'toy.json'}
    found = json.loads((tmp_path / 'toy.json').read_text())['files']['onnx']['int8']
    assert found['file'] == 'toy_int8.onnx' and len(found['parity']) == 4 and found['parity'][0]['logits'] > 1e-4
    assert "no metric: the config's test data cannot be read" in done.stdout and 'onnx int8: scene' in done.stdout
    with pytest.raises(InputError, match=r'toy.onnx: onnxruntime stops at an input of uint8 \(1, 64, 97, 3\)'):
        open_session('toy.onnx').run(np.zeros((1, 64, 97, 3), np.uint8))
    assert 'metric' not in found and found['bytes'] == (tmp_path / 'toy_int8.onnx').stat().st_size


@pytest.mark.slow
def test_an_export_that_fails_late_leaves_what_was_there(segmentor_file: str, tmp_path: Path, monkeypatch) -> None:
    def fail(graph, path: Path, meta) -> None:
        raise OSError(28, 'No space left on device', str(path))

    (tmp_path / 'toy.ts').write_bytes(b'earlier')
    monkeypatch.setitem(FORMS, 'torch-export', FORMS['torch-export']._replace(write=fail))
    forms = '--to', 'torchscript', 'torch-export'
    done = call_tool('export', segmentor_file, *forms, '--out', str(tmp_path / 'toy.ts'), '--size', '64x96')
    assert done.returncode == 2 and 'the disk is full' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['toy.ts'] and (tmp_path / 'toy.ts').read_bytes() == b'earlier'


@pytest.mark.slow
def test_a_detector_that_finds_nothing_is_not_proved(detector_file: str, tmp_path: Path) -> None:
    content = torch.load(detector_file, weights_only=False)
    content['meta']['cfg'] = content['meta']['cfg'].replace('score_thr=0.05', 'score_thr=0.99')
    torch.save(content, tmp_path / 'model.pth')
    done = export(str(tmp_path / 'model.pth'), tmp_path / 'toy.ts', '--size', '96x96')
    assert done.returncode == 0 and 'no object was found in any of the pictures' in done.stdout


@pytest.mark.slow
def test_a_file_that_gives_something_else_is_not_kept(segmentor_file: str, tmp_path: Path, monkeypatch) -> None:
    def wrong(path: Path):
        run = plain(path)
        return lambda image: [run(image)[0], run(image)[1] * 1.001]

    plain = FORMS['torchscript'].run
    monkeypatch.setitem(FORMS, 'torchscript', FORMS['torchscript']._replace(run=wrong))
    done = export(segmentor_file, tmp_path / 'toy.ts', '--size', '64x96')
    assert (
        done.returncode == 1
        and 'torchscript: not kept: 2 of 2 comparisons are beyond 0.0001 of the largest logit' in done.stdout
    )
    assert not list(tmp_path.iterdir())


STOPPED = """
import os, signal, time
from convnext_dense.commands import export
from convnext_dense.export.runtimes import FORMS
from convnext_dense.run.command import exit_with_line

def stop(graph, path, meta):
    path.write_bytes(b'half')
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

FORMS['torchscript'] = FORMS['torchscript']._replace(write=stop)
exit_with_line(export.main)
"""


def test_an_export_that_is_stopped_leaves_nothing(segmentor_file: str, tmp_path: Path) -> None:
    """By SIGTERM, in the middle of writing."""
    done = forked.run(['-c', STOPPED, segmentor_file, '--to', 'torchscript', '--out', str(tmp_path / 'toy.ts')])
    assert (done.returncode, done.stderr.splitlines()[-1]) == (143, 'stopped by SIGTERM') and not list(tmp_path.iterdir())


def test_without_a_name(segmentor_file: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call_tool('export', segmentor_file, '--to', 'torchscript', '--size', '64x96')
    assert done.returncode == 0 and {path.name for path in tmp_path.iterdir()} == {'model.ts', 'model.json'}


def test_files_of_an_earlier_export_are_named(segmentor_file: str, tmp_path: Path) -> None:
    (tmp_path / 'toy.xml').touch()
    done = export(segmentor_file, tmp_path / 'toy.ts', '--size', '64x96')
    assert f'{tmp_path / "toy.xml"} is of an earlier export' in done.stdout.splitlines()


def test_an_export_that_fails_leaves_nothing(segmentor_file: str, tmp_path: Path, monkeypatch) -> None:
    def fail(graph, path: Path, meta) -> None:
        path.write_bytes(b'half')
        raise OSError(28, 'No space left on device', str(path))

    monkeypatch.setitem(FORMS, 'torchscript', FORMS['torchscript']._replace(write=fail))
    done = export(segmentor_file, tmp_path / 'toy.ts')
    assert done.returncode == 2 and 'No space left on device; the disk is full' in done.stderr
    assert not list(tmp_path.iterdir())


def test_wrong_input(segmentor_file: str, tmp_path: Path) -> None:
    for model, more, words in (
        (segmentor_file, ('--int8', str(ROOT / 'tests')), '--int8: expected --to onnx or openvino, got torchscript'),
        (segmentor_file, ('--masks', 'full'), '--masks full: expected a detector with masks, got LeanEncoderDecoder'),
        (segmentor_file, ('--size', '20x20'), 'expected sides of at least 32 pixels'),
        (segmentor_file, ('--check', str(tmp_path)), '--check: expected pictures .* found none'),
        (str(tmp_path), (), 'expected a checkpoint in'),
    ):
        done = export(model, tmp_path / 'toy.ts', *more)
        errors = [line for line in done.stderr.splitlines() if line.startswith('error:')]
        one_line(done.returncode, '\n'.join(errors), words)
    assert not list(tmp_path.iterdir())
