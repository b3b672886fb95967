"""The walk from a ResNet to ConvNeXt: shapes, both ends beside the models that they are, and every figure of the tables."""

import json
import re
from pathlib import Path

import pytest
import torch
from conftest import call_tool, image
from mmengine.registry import MODELS
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from convnext_dense import ConvNeXt, InputError, RoadmapNet
from convnext_dense.benchmark.roadmap import Walk, counted, mean_and_deviation, measure, notes, parsed_steps, rows_of, table
from convnext_dense.models.roadmap_steps import SIZES, STEPS
from convnext_dense.text import table_text
from convnext_dense.weights.by_name import own_names

PRINTED_HIGHER = {
    ('tiny', 'layer_norm'): 4.15,
    ('tiny', 'downsample'): 4.46,
}  # than their arithmetic, as column B shows


def halved(side: int, times: int, up: bool) -> int:
    for _ in range(times):
        side = (side + up) // 2
    return side


@pytest.mark.parametrize('step', STEPS)
@pytest.mark.parametrize('size', [(64, 96), (67, 45)])
def test_maps(step: str, size: tuple[int, int]) -> None:
    net = RoadmapNet(step, out_indices=(0, 1, 3)).eval()
    with torch.no_grad():
        maps = net(image(2, 3, *size))
    patchify = list(STEPS).index(step) >= list(STEPS).index('patchify')
    first = [side // 4 if patchify else halved(side, 2, True) for side in size]
    up = step != 'downsample'
    expected = [(2, c, *(halved(side, i, up) for side in first)) for i, c in zip((0, 1, 3), net.out_channels)]
    assert [tuple(x.shape) for x in maps] == expected and net.out_strides == (4, 8, 32)
    assert all(torch.isfinite(x).all() for x in maps)


def statistics(net: nn.Module) -> nn.Module:
    """Norms as after training, so that an exchanged one shows."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return net.eval()


@pytest.mark.parametrize(('size', 'depths'), [('tiny', [3, 4, 6, 3]), ('base', [3, 24, 36, 3])])
def test_the_first_step_is_torchvisions_resnet(size: str, depths: list[int]) -> None:
    theirs = statistics(ResNet(Bottleneck, depths))
    ours = RoadmapNet('original', size).eval()
    state = {name: value for name, value in own_names(theirs.state_dict()).items() if not name.startswith('fc.')}
    ours.load_state_dict(state)
    x = image(1, 3, 70, 64)
    with torch.no_grad():
        y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        for i, found in enumerate(ours(x)):
            y = getattr(theirs, f'layer{i + 1}')(y)
            torch.testing.assert_close(found, y, rtol=0, atol=1e-5 * float(y.abs().max()))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('fused', [True, False])
def test_the_last_step_is_convnext(size: str, fused: bool) -> None:
    theirs = statistics(ConvNeXt(size, layer_scale_init_value=0, fused=False))
    ours = RoadmapNet('downsample', size, fused=fused).eval()
    ours.load_state_dict(theirs.state_dict())
    x = image(1, 3, 70, 64)
    with torch.no_grad():
        for found, expected in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize('size', SIZES)
def test_multiply_adds_of_all_rows(size: str) -> None:
    for row in rows_of(size, list(STEPS)):
        printed = PRINTED_HIGHER.get((size, row['step']), row['published']['gmacs'])
        assert abs(row['gmacs'] - printed) < 0.0101, row
    assert rows_of(size, ['layer_norm'])[0]['published']['gmacs'] == dict(tiny=4.46, base=14.81)[size]


def test_parameters_of_both_ends() -> None:
    """As torchvision states them: resnet50, convnext_tiny without its layer scale."""
    assert counted('original', 'tiny')[0] == 25_557_032
    scales = 3 * 96 + 3 * 192 + 9 * 384 + 3 * 768
    assert counted('downsample', 'tiny')[0] == 28_589_128 - scales


def test_every_step_differs_from_the_one_before() -> None:
    """But for the second, another recipe: in its layers, or in the number that comes out of equal weights."""
    nets = [RoadmapNet(step).eval() for step in STEPS]
    texts = [str(net) for net in nets]
    assert texts[0] == texts[1] and len(set(texts)) == len(texts) - 1


def test_drop_path_and_frozen_stages() -> None:
    net = RoadmapNet('width', drop_path_rate=0.9, frozen_stages=1).train()
    rates = [block.drop_path for stage in net.stages for block in stage]
    assert rates[0] == 0 and rates[-1] == pytest.approx(0.9) and rates == sorted(rates)
    assert not net.stages[0].training and net.stages[1].training
    frozen = {name.split('.')[0] + '.' + name.split('.')[1] for name, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {'downsample_layers.0', 'stages.0'}
    block = net.stages[3][2].train()
    x = image(64, 3072, 2, 2).relu()
    torch.manual_seed(0)
    same = [torch.equal(out, own) for out, own in zip(block(x), x)]
    assert 40 < sum(same) < 64  # nine in ten branches are dropped; what stays is the image itself


def test_it_is_built_by_the_registry() -> None:
    assert isinstance(MODELS.build(dict(type='RoadmapNet', step='gelu', size='base')), RoadmapNet)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(step='widht'), r"step: expected one of original, .*; got 'widht'; did you mean 'width'\?"),
        (dict(step=3), 'step: expected one of'),
        (dict(size='tyni'), r"size: expected one of tiny, base; got 'tyni'; did you mean 'tiny'\?"),
        (dict(out_indices=(4,)), 'out_indices: expected different stage numbers'),
        (dict(frozen_stages=5), 'frozen_stages: expected -1'),
        (dict(drop_path_rate=1.0), 'drop_path_rate: expected a number in'),
        (dict(in_channels=0), 'in_channels'),
        (dict(fused='maybe'), 'fused'),
    ],
)
def test_wrong_arguments(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RoadmapNet(**options)


def test_a_small_image() -> None:
    with pytest.raises(InputError, match='image of 31x64 pixels: expected height and width of at least 32'):
        RoadmapNet('width')(image(1, 3, 31, 64))


# The rows of the command


def test_steps_of_the_command_line() -> None:
    assert parsed_steps(None) == list(STEPS)
    assert parsed_steps('width, enhanced') == ['enhanced', 'width']
    with pytest.raises(InputError, match=r"--steps: expected of .*; got 'downsampel'; did you mean 'downsample'\?"):
        parsed_steps('width,downsampel')
    with pytest.raises(InputError, match='got none'):
        parsed_steps(' , ')


def test_measuring() -> None:
    rows = rows_of('tiny', ['original', 'enhanced', 'downsample'])
    measure(rows, 1, 32, 2, lambda line: None)
    first, second, last = (row['measured'] for row in rows)
    assert first == second and list(first) == ['plain layers'] and list(last) == ['plain layers', 'our kernels']
    assert all(value > 0 for way in (first, last) for found in way.values() for value in found.values())
    assert last['our kernels']['kept'] < last['plain layers']['kept']
    other = [dict(rows[0], on='another machine', step='ratio'), *rows]  # which nothing is relative to
    assert table_text(table(other)).count(' 1.00 ') == table_text(table(rows)).count(' 1.00 ') + 3
    text = table_text(table(rows))
    assert text.count(' 1.00 ') >= 6 and 'our kernels' in text and '81.97 +- 0.06' in text


def test_mean_and_deviation() -> None:
    assert mean_and_deviation([1.0, 3.0]) == (2.0, pytest.approx(2**0.5)) and mean_and_deviation([5.0]) == (5.0, 0.0)


def test_what_earlier_calls_did_is_kept(tmp_path: Path) -> None:
    walk = Walk(tmp_path / 'walk.json')
    rows = rows_of('tiny', ['width', 'gelu'])
    rows[0]['miou'] = {'0': 50.0}
    walk.take(rows)
    walk.write()
    again = Walk(tmp_path / 'walk.json')
    fresh = rows_of('tiny', ['width', 'depthwise'])
    again.take(fresh)
    again.write()
    assert fresh[0]['miou'] == {'0': 50.0} and 'miou' not in fresh[1]
    assert [row['step'] for row in json.loads(again.file.read_text())['rows']] == ['depthwise', 'width', 'gelu']
    for text, got in (('[]', 'other JSON'), ('{"rows": [1]}', 'other JSON'), ('{"rows": [', 'no whole JSON')):
        (tmp_path / 'walk.json').write_text(text)
        with pytest.raises(InputError, match=f'expected the file of an earlier walk, got {got}'):
            Walk(tmp_path / 'walk.json')


def test_how_long_the_toy_runs_were_is_said() -> None:
    rows = rows_of('tiny', ['width', 'gelu'])
    for row, length in zip(rows, (20, 600)):
        row |= dict(miou={'0': 50.0, '1': 52.0}, iterations=length)
    assert notes(rows)[-1] == 'toy mIoU: mean +- deviation (seeds), after 20 or 600 iterations from scratch'
    assert '51.00 +- 1.41 (2)' in table_text(table(rows))


def test_the_command(tmp_path: Path) -> None:
    done = call_tool('roadmap', '--steps', 'enhanced,downsample', '--rounds', '1', '--side', '32', '--out', str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {'roadmap.json', 'roadmap.txt', 'roadmap.png', 'roadmap.svg'}
    content = json.loads((tmp_path / 'roadmap.json').read_text())
    assert [row['step'] for row in content['rows']] == ['enhanced', 'downsample'] and '32x32' in content['rows'][0]['on']
    text = (tmp_path / 'roadmap.txt').read_text()
    assert text.strip() in done.stdout and f'{tmp_path / "roadmap.txt"}, ' in done.stdout
    assert re.search(r'T: from ResNet-50: 1.00 is enhanced: [\d.]+ s, [\d.]+ s, \d+ MiB; measured on .*32x32', text)
    assert '* published (arXiv 2201.03545' in text and 'toy mIoU:' not in text
    again = call_tool('roadmap', '--steps', 'width', '--rounds', '0', '--out', str(tmp_path))
    assert 'our kernels' in again.stdout and '| width ' in again.stdout  # what was measured before is still shown


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--size', 'bese'), "--size: expected tiny, base or both, got 'bese'; did you mean 'base'?"),
        (('--steps', 'a,b'), "got 'a'"),
        (('--train', '--data-root', 'nowhere'), '--data-root: expected the toy set, got nowhere'),
        (('--rounds', '-1'), '--rounds: expected 0 to 1000, got -1'),
        (('--train', '--seeds', '0'), '--seeds: expected 1 to 100, got 0'),
        (('--side', '16'), '--side: expected 32 to 2048, got 16'),
    ],
)
def test_wrong_options(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = call_tool('roadmap', *arguments, '--out', str(tmp_path / 'out'))
    assert done.returncode == 2 and message in done.stderr and done.stderr.count('\n') == 1
    assert not (tmp_path / 'out').exists()
