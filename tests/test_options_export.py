"""What is asked of an export, before a model is loaded (export/options.py)."""

from pathlib import Path

import pytest
from PIL import Image

from convnext_dense import InputError
from convnext_dense.export.options import expect_eight_bits, expect_pictures, int8_file, of_one_name, parsed_size, targets


def test_sizes() -> None:
    assert parsed_size('dynamic') is None and parsed_size('512') == (512, 512) and parsed_size('641X427') == (641, 427)
    for text in ('large', '512x', '1x2x3', '-5x5', ''):
        with pytest.raises(InputError, match='expected dynamic, or HEIGHTxWIDTH in pixels'):
            parsed_size(text)
    with pytest.raises(InputError, match='at least 32 pixels, the last stride, got 31x64'):
        parsed_size('31x64')


def test_files(tmp_path: Path) -> None:
    out = str(tmp_path / 'a.onnx')
    assert targets(out, ['onnx', 'openvino']) == dict(onnx=tmp_path / 'a.onnx', openvino=tmp_path / 'a.xml')
    assert int8_file(Path('x/a.onnx')) == Path('x/a_int8.onnx')
    with pytest.raises(InputError, match=r'expected a name that ends in .xml or .pt2, as --to openvino torch-export; got'):
        targets(out, ['openvino', 'torch-export'])
    with pytest.raises(InputError, match='which is a folder; name a file in it'):
        targets(str(tmp_path), ['onnx'])
    with pytest.raises(InputError, match='existing folder'):
        targets(str(tmp_path / 'no/a.onnx'), ['onnx'])
    (tmp_path / 'a.json').mkdir()
    with pytest.raises(InputError, match='a folder'):
        targets(out, ['onnx'])


def test_a_description_of_something_else_stays(tmp_path: Path) -> None:
    for text in ('{"version": 1}', '[1]', 'no JSON'):
        (tmp_path / 'package.json').write_text(text)
        with pytest.raises(InputError, match=r'expected to write .*package.json beside it, which is of something else'):
            targets(str(tmp_path / 'package.onnx'), ['onnx'])
    (tmp_path / 'package.json').write_text('{"made_by": "convnext_dense 0.1"}')
    assert targets(str(tmp_path / 'package.onnx'), ['onnx'])


def test_files_of_one_name(tmp_path: Path) -> None:
    for name in ('a.onnx', 'a_int8.xml', 'ab.onnx', 'a.pth', 'a.json'):
        (tmp_path / name).touch()
    assert of_one_name(str(tmp_path / 'a.ts')) == [tmp_path / 'a.onnx', tmp_path / 'a_int8.xml']


def test_forms_of_eight_bits() -> None:
    expect_eight_bits(['torchscript', 'openvino'])
    with pytest.raises(InputError, match='--int8: expected --to onnx or openvino, got torchscript; leave one of the two out'):
        expect_eight_bits(['torchscript'])


def test_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='--int8: expected pictures .* found none'):
        expect_pictures('--int8', str(tmp_path))
    with pytest.raises(InputError, match='--check: .*not there'):
        expect_pictures('--check', str(tmp_path / 'no'))
    with pytest.raises(InputError, match='--check: expected a folder, a pattern or a picture on this computer, got https'):
        expect_pictures('--check', 'https://example.org/a.png')
    (tmp_path / 'a.npy').touch()
    with pytest.raises(InputError, match='--check: expected pictures .* found none'):
        expect_pictures('--check', str(tmp_path))
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    for given in (str(tmp_path), f'{tmp_path}/*.png', f'{tmp_path}/a.png'):
        expect_pictures('--check', given)
