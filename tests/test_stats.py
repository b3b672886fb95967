"""The image statistics that weights were trained with, and configs that have others."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_layouts import classification

from convnext_dense import ConvNeXt
from convnext_dense.weights.convert import inspect
from convnext_dense.weights.stats import CLIP, IMAGENET, differs, expected_stats


def told(path: Path) -> dict[str, str]:
    return dict(inspect(str(path)))


def test_mean_and_std_beside_the_file(tmp_path) -> None:
    state = ConvNeXt('atto').state_dict()
    save_file(state, tmp_path / 'model.safetensors')
    for name, content in (
        ('config.json', dict(pretrained_cfg=dict(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6]))),
        ('preprocessor_config.json', dict(image_mean=[0.7, 0.7, 0.7], image_std=[0.2, 0.2, 0.2])),
    ):
        (tmp_path / name).write_text(json.dumps(content))
        values = list(content.get('pretrained_cfg', content).values())
        assert told(tmp_path / 'model.safetensors')['image mean and std'] == f'{tuple(values[0])}, {tuple(values[1])}'
    (tmp_path / 'preprocessor_config.json').write_text('no json')
    (tmp_path / 'config.json').unlink()
    from convnext_dense.weights.layouts import recognise

    assert expected_stats(str(tmp_path / 'model.safetensors'), state, recognise(state)) is None


@pytest.mark.parametrize(
    'text',
    [
        '5',
        '[]',
        '[' * 100_000,
        '{"pretrained_cfg": 5}',
        '{"mean": ["a"], "std": [1]}',
        '{"mean": [0.5], "std": [1, 1]}',
        '{"mean": [], "std": []}',
        '{"mean": 0.5, "std": 0.5}',
        '{"mean": [0.5, 0.5, 0.5], "std": [1, 0, 1]}',
        '{"mean": [0.5, NaN, 0.5], "std": [1, 1, 1]}',
        '{"mean": [1e999, 0, 0], "std": [1, 1, 1]}',
        '{"mean": [1%s, 0, 0], "std": [1, 1, 1]}' % ('0' * 400),
        '{"mean": [true, true, true], "std": [1, 1, 1]}',
    ],
    ids=lambda text: text[:40],
)
def test_a_file_beside_the_weights_that_tells_no_statistics(tmp_path, text: str) -> None:
    torch.save(classification(False), tmp_path / 'a.pth')
    (tmp_path / 'config.json').write_text(text)
    (tmp_path / 'preprocessor_config.json').mkdir()
    assert told(tmp_path / 'a.pth')['image mean and std'] == 'not told by the file'


def test_statistics_in_the_folder_and_of_one_channel(tmp_path) -> None:
    torch.save(classification(False), tmp_path / 'pytorch_model.bin')
    (tmp_path / 'config.json').write_text('{"mean": [0.5], "std": [0.25]}')
    assert told(tmp_path)['image mean and std'] == '(0.5,), (0.25,)'


def test_other_statistics_than_the_configs_are_told() -> None:
    ours = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert differs(IMAGENET, *ours) is None
    for row, channel, step in product(range(2), range(3), (-0.2, 0.2)):
        other = [list(part) for part in ours]
        other[row][channel] += step
        assert f'the config has mean={other[0]}, std={other[1]}' in differs(IMAGENET, *other)
        other[row][channel] -= 0.75 * step
        assert differs(IMAGENET, *other) is None, 'as near as rounding'
    assert differs(IMAGENET, ours[0][:2], ours[1]) and differs(IMAGENET, ours[0], [*ours[1], 1.0])
    assert 'trained with mean=[122.771, 116.746, 104.094], std=[68.501, 66.632, 70.323]; the config has' in differs(CLIP, *ours)
