"""Checkpoints in several files: found by index or folder, and held to what the index says."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_open import same, weights

from convnext_dense import InputError
from convnext_dense.weights.open import open_checkpoint

BROKEN = 'expected an index with weight_map, got one that cannot be read'


def shards(folder: Path, state: dict) -> None:
    names = list(state)
    files = {name: f'model-0000{1 + (i > len(names) // 2)}-of-00002.safetensors' for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: state[name] for name in names if files[name] == file}, folder / file)
    (folder / 'model.safetensors.index.json').write_text(json.dumps(dict(metadata={}, weight_map=files)))


def test_a_sharded_set_by_its_index_or_folder(tmp_path) -> None:
    state = weights()
    shards(tmp_path, state)
    for path in (tmp_path, tmp_path / 'model.safetensors.index.json'):
        assert same(open_checkpoint(path), state)
    (tmp_path / 'model-00002-of-00002.safetensors').unlink()
    with pytest.raises(InputError, match='model-00002-of-00002.safetensors which is not there'):
        open_checkpoint(tmp_path)
    save_file({'other': torch.ones(1)}, tmp_path / 'model-00002-of-00002.safetensors')
    with pytest.raises(InputError, match='of its tensors are in none of its files'):
        open_checkpoint(tmp_path)


def test_a_shard_holds_what_the_index_says(tmp_path) -> None:
    state = weights()
    shards(tmp_path, state)
    save_file({'other': torch.ones(1)}, tmp_path / 'third.safetensors')
    index = tmp_path / 'model.safetensors.index.json'
    names = json.loads(index.read_text())['weight_map']
    for change, message in (
        (dict(other='model-00001-of-00002.safetensors'), '1 of its tensors are in none of its files, or not in those'),
        (dict.fromkeys(['other', *list(state)[:1]], 'third.safetensors'), '1 of its tensors are in none'),
        ({'norm0.bias': None}, 'its files hold 1 tensors that it does not name: norm0.bias'),
    ):
        changed = {name: file for name, file in (names | change).items() if file}
        index.write_text(json.dumps(dict(weight_map=changed)))
        with pytest.raises(InputError, match=message):
            open_checkpoint(tmp_path)
    index.write_text(json.dumps(dict(weight_map=names | dict(other='third.safetensors'))))
    assert same(open_checkpoint(tmp_path), state | {'other': torch.ones(1)})


@pytest.mark.parametrize(
    'text, message',
    [
        ('{}', BROKEN),
        ('not json', BROKEN),
        ('[]', BROKEN),
        ('null', BROKEN),
        ('[' * 100_000, BROKEN),
        ('{"weight_map": ["a"]}', BROKEN),
        ('{"weight_map": {"a": 1, "b": "x"}}', BROKEN),
        ('{"weight_map": {"a": {}}}', BROKEN),
        ('{"weight_map": {}}', 'expected an index with tensors in weight_map, got none'),
        ('{"weight_map": {"a": 1}}', 'expected files beside the index, got 1'),
        ('{"weight_map": {"a": "../../outside.safetensors"}}', 'expected files beside the index'),
        ('{"weight_map": {"a": "b.safetensors", "c": "../b.safetensors"}}', 'expected files beside the index'),
        ('{"weight_map": {"a": ".."}}', 'expected files beside the index'),
        ('{"weight_map": {"a": "model.safetensors.index.json"}}', 'expected files beside the index'),
        ('{"weight_map": {"a": ""}}', 'expected a file, got .* which is a folder'),
        ('{"weight_map": {"a": "sub"}}', 'expected a file, got .*sub which is a folder'),
        (r'{"weight_map": {"a": "b\u0000"}}', 'embedded null byte'),
    ],
)
def test_a_broken_index(tmp_path, text: str, message: str) -> None:
    (tmp_path / 'model.safetensors.index.json').write_text(text)
    (tmp_path / 'sub').mkdir()
    save_file(weights(), tmp_path / 'sub' / 'model.safetensors')
    with pytest.raises(InputError, match=message) as caught:
        open_checkpoint(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
