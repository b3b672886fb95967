"""What is asked of an export, before a model is loaded."""

from pathlib import Path

import pytest
from PIL import Image

from convnext_dense import InputError
from convnext_dense.export.options import expect_pictures, int8_file, parsed_size, targets


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


def test_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='--int8: expected pictures .* found none'):
        expect_pictures('--int8', str(tmp_path))
    with pytest.raises(InputError, match='--check: .*not there'):
        expect_pictures('--check', str(tmp_path / 'no'))
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    for given in (str(tmp_path), f'{tmp_path}/*.png', f'{tmp_path}/a.png'):
        expect_pictures('--check', given)
