"""The commands through their command lines: train, kill, resume, test, two processes; and every wrong input, one line each."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import QUICK, ROOT, SHAPES, UNFORMATTED, call_tool, one_line, two_processes
from PIL import Image

from convnext_dense.commands import test as command

SCHEDULE = ['train_cfg.max_iters=4', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2']


def options(data_root: str, work_dir, *extra: str) -> list[str]:
    return [
        SHAPES,
        '--data-root',
        data_root,
        '--work-dir',
        str(work_dir),
        '--seed',
        '0',
        '--cfg-options',
        *QUICK,
        *SCHEDULE,
        *extra,
    ]


@pytest.fixture(scope='module')
def trained(shapes, tmp_path_factory):
    """A finished run of four steps: its work directory and its output."""
    work_dir = tmp_path_factory.mktemp('run')
    done = call_tool('train', *options(shapes, work_dir))
    assert done.returncode == 0, done.stderr
    return work_dir, done.stdout


@pytest.mark.slow
def test_training_says_what_it_does(trained) -> None:
    work_dir, out = trained
    assert {'iter_2.pth', 'iter_4.pth', 'last_checkpoint'} <= {path.name for path in work_dir.iterdir()}
    for line in ('SyncBN -> BN', 'from scratch', "= 2 images a step; the recipe's is 4", 'learning-rate groups', 'mIoU:'):
        assert line in out, line


@pytest.mark.slow
def test_resume_goes_on(trained, shapes, tmp_path) -> None:
    shutil.copytree(trained[0], tmp_path / 'run')
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'iter_2.pth'))
    (tmp_path / 'run' / 'iter_4.pth').unlink()
    done = call_tool('train', *options(shapes, tmp_path / 'run'), '--resume')
    assert done.returncode == 0, done.stderr
    assert 'resumed epoch: 0, iter: 2' in done.stdout
    assert 'Iter(train) [4/4]' in done.stdout and 'Iter(train) [2/4]' not in done.stdout
    state = torch.load(tmp_path / 'run' / 'iter_4.pth', weights_only=False)
    assert state['meta']['iter'] == 4 and len(state['optimizer']['state']) > 100


@pytest.mark.slow
def test_a_killed_run_resumes(shapes, tmp_path) -> None:
    work_dir = tmp_path / 'run'
    args = options(shapes, work_dir, 'train_cfg.max_iters=2000', 'train_cfg.val_interval=1000')
    process = subprocess.Popen(
        [sys.executable, str(ROOT / 'tools/train.py'), *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': UNFORMATTED},
    )
    deadline = time.monotonic() + 120
    while not (work_dir / 'iter_4.pth').exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = int(re.search(r'iter_(\d+)', (work_dir / 'last_checkpoint').read_text())[1])
    stop = f'train_cfg.max_iters={last + 1}'
    done = call_tool('train', *options(shapes, work_dir, stop, 'train_cfg.val_interval=1000'), '--resume', 'auto')
    assert done.returncode == 0, done.stderr
    assert f'resumed epoch: 0, iter: {last}' in done.stdout


@pytest.mark.slow
def test_metrics_pictures_and_json(trained, shapes, tmp_path) -> None:
    args = [
        *options(shapes, tmp_path / 'test'),
        '--out',
        str(tmp_path / 'metrics.json'),
        '--show-dir',
        str(tmp_path / 'pictures'),
    ]
    done = call_tool('test', args[0], str(trained[0]), *args[1:])
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert set(metrics) >= {'aAcc', 'mIoU', 'mAcc'} and 0 <= metrics['mIoU'] <= 100
    last = done.stdout.strip().splitlines()[-1]
    assert last == f'mIoU {metrics["mIoU"]:.2f} on 5 images; pictures in {tmp_path / "pictures"}'
    assert re.search(rf'\| mIoU +\| {metrics["mIoU"]:.2f} +\|', done.stdout)
    assert re.search(rf'mIoU: {metrics["mIoU"]:.4f}', trained[1]), 'training measured something else'
    pictures = sorted(path.name for path in (tmp_path / 'pictures').iterdir())
    assert pictures == [f'scene_{i:05d}.png' for i in range(5)]
    width, height = Image.open(Path(shapes) / 'images/validation/scene_00000.jpg').size
    assert Image.open(tmp_path / 'pictures' / pictures[0]).size == (2 * width, height)


@pytest.mark.slow
def test_tta_from_a_checkpoint_file(trained, shapes, tmp_path) -> None:
    args = options(shapes, tmp_path / 'test')
    done = call_tool('test', args[0], str(trained[0] / 'iter_4.pth'), *args[1:], '--tta')
    assert done.returncode == 0, done.stderr
    assert '3 x 2 views of the whole image' in done.stdout and 'on 5 images' in done.stdout


@pytest.mark.slow
def test_two_processes_train_and_count_every_image_once(trained, shapes, tmp_path) -> None:
    fast = [
        f'model.{part}.fused=True' for part in ('backbone', 'decode_head', 'auxiliary_head')
    ]  # their gradients are averaged
    done = two_processes('train', *options(shapes, tmp_path / 'run', *fast))
    assert done.returncode == 0, done.stderr[-2000:]
    assert '2 per process x 2 processes x 1 accumulated = 4 images a step' in done.stdout
    measured = []
    for run in (two_processes, call_tool):
        out = tmp_path / f'{run.__name__}.json'
        args = options(shapes, tmp_path / 'test', *fast)
        tested = run('test', args[0], str(tmp_path / 'run'), *args[1:], '--out', str(out))
        assert tested.returncode == 0, tested.stderr[-2000:]
        measured.append(json.loads(out.read_text()))
    assert measured[0] == measured[1], 'five images on two processes, to the last digit'
    trained_with = re.findall(r'mIoU: ([\d.]+)', done.stdout)[-1]
    assert float(trained_with) == measured[1]['mIoU']


@pytest.mark.slow
def test_two_processes_of_the_installed_command(shapes, tmp_path, monkeypatch) -> None:
    """The script that installing writes, started as docs/training.md shows, by the name of a recipe."""
    script = tmp_path / 'bin/convnext-dense'
    script.parent.mkdir()
    script.write_text(f'#!{sys.executable}\nimport sys\nfrom convnext_dense_cli import main\nsys.exit(main())\n')
    script.chmod(0o755)
    args = options(shapes, tmp_path / 'run', 'train_cfg.max_iters=2')[1:]
    command = f'{sys.executable} -m torch.distributed.run --nproc_per_node 2 --rdzv_backend c10d --rdzv_endpoint localhost:0'
    done = subprocess.run(
        [
            *command.split(),
            '--no-python',
            'convnext-dense',
            'train',
            'upernet_convnext_atto_shapes',
            *args,
            '--launcher=pytorch',
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            'PATH': f'{script.parent}{os.pathsep}{os.environ["PATH"]}',
            'PYTHONPATH': f'{ROOT}{os.pathsep}{UNFORMATTED}',
            'OMP_NUM_THREADS': '1',
        },
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert '2 per process x 2 processes x 1 accumulated = 4 images a step' in done.stdout


@pytest.mark.slow
def test_amp_accumulation_and_scaled_rate(shapes, tmp_path) -> None:
    args = options(shapes, tmp_path / 'run', 'optim_wrapper.accumulative_counts=4', 'train_cfg.max_iters=2')
    done = call_tool('train', *args, '--amp', '--auto-scale-lr')
    assert done.returncode == 0, done.stderr
    assert 'bfloat16 autocast on the CPU' in done.stdout
    assert '4 accumulated = 8 images a step' in done.stdout and 'scaled to lr 0.004' in done.stdout


@pytest.fixture
def broken(shapes, tmp_path):
    """A copy of the toy set to spoil."""
    shutil.copytree(shapes, tmp_path / 'shapes')
    return tmp_path / 'shapes'


def mask_200(root: Path) -> None:
    path = root / 'annotations/training/scene_00001.png'
    image = Image.open(path)
    image.putpixel((3, 3), 200)
    image.save(path)


def missing_mask(root: Path) -> None:
    (root / 'annotations/training/scene_00001.png').unlink()


def truncated_jpeg(root: Path) -> None:
    path = root / 'images/validation/scene_00001.jpg'
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    'spoil, message',
    [
        (mask_200, r'scene_00001.png has value 200; expected 0 to 6'),
        (missing_mask, r'scene_00001.jpg has no mask .*scene_00001.png'),
        (truncated_jpeg, r'validation/scene_00001.jpg cannot be read'),
        (
            lambda root: shutil.rmtree(root / 'annotations'),
            r'expected .*annotations/training/\*.png; got no folder .*annotations/training; pass --data-root',
        ),
    ],
    ids=['mask 200', 'missing mask', 'truncated JPEG', 'no tree'],
)
def test_wrong_data(tool, broken, tmp_path, spoil, message) -> None:
    spoil(broken)
    one_line(*tool('train', *options(str(broken), tmp_path / 'run')), message)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    'args, message',
    [
        (
            ['--cfg-options', 'model.backbone.drop_path_rat=0.1'],
            "model.backbone has no key 'drop_path_rat'; did you mean 'drop_path_rate'",
        ),
        (['--cfg-options', 'modle.backbone.arch=tiny'], "the config has no key 'modle'; did you mean 'model'"),
        (['--cfg-options', 'model.backbone.arch.depth=3'], "is the value 'atto', it has no keys"),
        (['--cfg-options', 'param_scheduler.5.end=3'], 'is a list of 2'),
        (['--cfg-options', 'model.backbone.arch=tinny'], "arch: expected one of atto, .*got 'tinny'"),
        (['--cfg-options', 'model.backbone.out_indices=(0,7)'], r'out_indices: expected .* got \(0, 7\)'),
        (['--cfg-options', 'model.backbone.out_indices=(0,1)'], 'in_index: expected indices below 2'),
        (['--cfg-options', 'model.backbone.arch=femto'], r'in_channels: expected \[48, 96, 192, 384\].* got \[40'),
        (
            ['--cfg-options', 'model.decode_head.num_classes=150'],
            'num_classes: expected 6, the classes of ShapesDataset; got 150',
        ),
        (['--cfg-options', 'train_dataloader.batch_size=1'], 'batch_size: expected 2 or more per process, got 1'),
        (['--cfg-options', 'model.decode_head.type=UPerHaed'], 'cannot be built.*UPerHaed'),
        (['--cfg-options', 'optim_wrapper.paramwise_cfg.num_layers=6'], 'num_layers'),
        (['--cfg-options', 'train_cfg.max_iters'], "expected KEY=VALUE, got 'train_cfg.max_iters'"),
        (['--resume'], 'expected a whole checkpoint in .*start without --resume'),
        (['--resume', 'nowhere.pth'], 'expected a whole checkpoint, got nowhere.pth: it is not there'),
        (['--resume', '--load-from', 'a.pth'], 'expected one of the two, got both'),
        (['--load-from', 'nowhere.pth'], 'checkpoint: expected a file, got nowhere.pth'),
        (['--pretrained', 'nowhere.pth'], 'checkpoint: expected a file, got nowhere.pth'),
        (['--launcher', 'pytorch'], 'expected RANK in the environment; start with torchrun'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_wrong_options(tool, shapes, tmp_path, args, message) -> None:
    base = [SHAPES, '--data-root', shapes, '--work-dir', str(tmp_path / 'run')]
    one_line(*tool('train', *base, *args), message)
    assert not (tmp_path / 'run').exists()


def test_wrong_config_files(tool, tmp_path) -> None:
    one_line(
        *tool('train', str(ROOT / 'configs/upernet_convnext_tt_ade20k.py')),
        "not there; did you mean 'upernet_convnext_t_ade20k.py'",
    )
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    one_line(*tool('train', str(tmp_path / 'broken.py')), 'cannot be read')


def test_a_file_where_a_folder_is_to_be_written(tool, shapes, tmp_path) -> None:
    (tmp_path / 'file').write_text('')
    for work_dir in ('file', 'file/run'):
        args = [SHAPES, '--data-root', shapes, '--work-dir', str(tmp_path / work_dir)]
        one_line(*tool('train', *args), '--work-dir: expected a folder, got .*file is a file')


def test_resume_in_an_empty_work_dir(tool, shapes, tmp_path) -> None:
    one_line(
        *tool('train', SHAPES, '--data-root', shapes, '--work-dir', str(tmp_path), '--resume'),
        'expected a whole checkpoint in .*found none',
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_wrong_checkpoints(tool, trained, shapes, tmp_path) -> None:
    (tmp_path / 'text.pth').write_text('no weights')
    base = ['--data-root', shapes, '--work-dir', str(tmp_path / 'run')]
    one_line(*tool('test', SHAPES, str(tmp_path / 'text.pth'), *base), 'expected a PyTorch or safetensors file, got something')
    wide = ['--cfg-options', 'model.decode_head.channels=32']
    checkpoint = str(trained[0] / 'iter_4.pth')
    one_line(*tool('test', SHAPES, checkpoint, *base, *wide), r'does not fit this LeanEncoderDecoder: .*is \(64.*expected \(32')
    for option in ('--resume', '--load-from'):
        one_line(*tool('train', SHAPES, option, checkpoint, *base, *wide), 'does not fit this LeanEncoderDecoder')
    one_line(
        *tool('test', SHAPES, checkpoint, *base, '--out', str(tmp_path / 'no' / 'm.json')),
        '--out: expected a file in an existing folder',
    )
    one_line(
        *tool('test', SHAPES, checkpoint, *base, '--eval-backend', 'pycocotools'),
        '--eval-backend: expected a test_evaluator of type CocoStatsMetric',
    )
    assert not (tmp_path / 'run').exists()


def test_a_download_that_fails(tool, shapes, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    base = [SHAPES, '--data-root', shapes, '--work-dir', str(tmp_path / 'run')]
    one_line(*tool('train', *base, '--pretrained', 'http://127.0.0.1:9/a.pth'), '--pretrained FILE.*--pretrained none')
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_an_image_of_twenty_pixels(tool, trained, tmp_path) -> None:
    root = tmp_path / 'tiny'
    for folder, suffix, mode in (('images', 'jpg', 'RGB'), ('annotations', 'png', 'L')):
        (root / folder / 'validation').mkdir(parents=True)
        Image.new(mode, (20, 20), 1 if mode == 'L' else (9, 9, 9)).save(root / folder / 'validation' / f'a.{suffix}')
    args = options(str(root), tmp_path / 'test')
    one_line(*tool('test', args[0], str(trained[0]), *args[1:]), 'a.jpg is 20x20; expected at least 32 pixels a side')
    assert not (tmp_path / 'test').exists()
    done = call_tool('test', args[0], str(trained[0]), *args[1:], '--check-data', 'off')
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('error: image of 20x20 pixels: expected height and width of at least 32')


def test_metrics_of_any_name_are_written_and_shown(tmp_path, capsys) -> None:
    given = {
        'coco/bbox_mAP': 0.5,
        'coco/bbox_mAP_50': 0.75,
        'coco/segm_mAP': 0.25,
        'coco/a_b_precision': 0.125,
        'other': 'text',
    }
    command.report({name: command.plain(value) for name, value in given.items()}, str(tmp_path / 'a.json'))
    assert json.loads((tmp_path / 'a.json').read_text()) == given
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ['metric', 'bbox', 'segm']
    for row in (
        ['mAP', '0.500', '0.250'],
        ['mAP_50', '0.750', '-'],
        ['coco/a_b_precision', '0.125', ''],
        ['other', 'text', ''],
    ):
        assert row in rows
    assert command.summary(given) == 'bbox AP 0.500, segm AP 0.250'
