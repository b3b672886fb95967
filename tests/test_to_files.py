"""tools/predict.py: from inputs to files, and what is wrong in one line with nothing half-written."""

import json
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK, ROOT, call_tool, one_line
from forked import Forked
from models import photograph, write_photograph
from PIL import Image
from pycocotools.coco import COCO

from convnext_dense.predict.video import VideoWriter, frames
from convnext_dense.run.command import PARTLY


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for i in range(3):
        write_photograph(tmp_path / f'in/p{i}.png', seed=i)
    return tmp_path / 'in'


def video(path: Path, count: int = 7) -> Path:
    writer = VideoWriter(path, path.suffix, Fraction(10))
    for seed in range(count):
        writer.write(photograph(48, 64, seed))
    writer.close()
    return path


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob('*')) if p.is_file()}


def test_a_folder_to_pictures(segmentor_file: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    done = call_tool('predict', segmentor_file, str(pictures), '--out', str(out))
    assert done.returncode == 0 and done.stderr == ''
    assert set(files(out)) == {'journal.jsonl', 'pictures/p0.jpg', 'pictures/p1.jpg', 'pictures/p2.jpg'}
    assert '3 pictures in ' in done.stdout and f'written to {out}' in done.stdout
    pixels = sum(
        int(line.split()[3].replace(',', '')) for line in done.stdout.splitlines() if line.count('|') == 4 and '%' in line
    )
    assert pixels == 3 * 60 * 80


@pytest.mark.slow
def test_cocos_file_is_one_to_validate_on(detector_file: str, shapes: str, tmp_path: Path) -> None:
    out, photographs = tmp_path / 'out', f'{shapes}/images/validation'
    done = call_tool(
        'predict', detector_file, photographs, '--out', str(out), '--format', 'coco', 'csv', '--no-pictures', '--score', '0.1'
    )
    assert done.returncode == 0, done.stderr
    assert set(files(out)) == {'journal.jsonl', 'coco.json', 'predictions.csv'}
    coco = COCO(out / 'coco.json')
    assert len(coco.imgs) == 5 and coco.anns
    config = str(ROOT / 'configs/mask_rcnn_convnext_atto_shapes.py')
    done = call_tool(
        'test',
        config,
        detector_file,
        '--data-root',
        photographs,
        '--val-ann',
        str(out / 'coco.json'),
        '--work-dir',
        str(tmp_path / 'w'),
        '--cfg-options',
        *(option for option in QUICK if option.startswith('test_dataloader')),  # no process is forked beside the threads
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith('bbox AP')]
    assert float(line.split()[2].rstrip(',')) > 0.9  # its own predictions


def test_one_picture_to_one_file(segmentor_file: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out.png'
    assert call_tool('predict', segmentor_file, str(pictures / 'p1.png'), '--out', str(out)).returncode == 0
    assert Image.open(out).size == (80, 60)
    assert not np.array_equal(np.asarray(Image.open(out)), np.asarray(Image.open(pictures / 'p1.png')))


@pytest.mark.slow
def test_a_video_to_a_video_and_to_a_folder(segmentor_file: str, tmp_path: Path) -> None:
    camera = video(tmp_path / 'camera.mp4')
    out = tmp_path / 'out.mp4'
    done = call_tool('predict', segmentor_file, str(camera), '--out', str(out), '--every', '3')
    assert done.returncode == 0, done.stderr
    assert len(list(frames(str(out)))) == 3
    done = call_tool('predict', segmentor_file, str(camera), '--out', str(tmp_path / 'f'), '--every', '3', '--format', 'png')
    assert done.returncode == 0, done.stderr
    assert {Path(name).stem for name in files(tmp_path / 'f') if 'masks' in name} == {f'camera_{i:06d}' for i in (0, 3, 6)}


def test_options_reach_the_model(detector_file: str, pictures: Path, tmp_path: Path) -> None:
    options = ['--score', '0.05', '--classes', 'disc, star', '--batch-size', '2', '--precision', 'bfloat16', '--device', 'cpu']
    done = call_tool('predict', detector_file, str(pictures), '--out', str(tmp_path / 'o'), '--format', 'json', *options)
    assert done.returncode == 0, done.stderr
    objects = [one for path in (tmp_path / 'o/json').iterdir() for one in json.loads(path.read_text())['objects']]
    assert objects and {one['name'] for one in objects} <= {'disc', 'star'} and min(one['score'] for one in objects) < 0.3


def test_unreadable_pictures_are_named_and_counted(segmentor_file: str, pictures: Path, tmp_path: Path) -> None:
    (pictures / 'a.jpg').write_text('text')
    (pictures / 'p0b.png').write_bytes((pictures / 'p0.png').read_bytes()[:3000])
    done = call_tool('predict', segmentor_file, str(pictures), '--out', str(tmp_path / 'o'))
    assert done.returncode == PARTLY
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and 'left out: ' in lines[0] and 'a.jpg cannot be read' in lines[0] and 'p0b.png' in lines[1]
    assert lines[2] == '2 could not be read and were left out' and len(files(tmp_path / 'o')) == 4
    done = call_tool('predict', segmentor_file, str(pictures), '--out', str(tmp_path / 's'), '--strict')
    one_line(done.returncode, done.stderr, 'a.jpg: cannot be read')
    assert not (tmp_path / 's').exists()


def test_a_broken_video_among_pictures_is_left_out(segmentor_file: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / 'cut.mp4').write_bytes(video(tmp_path / 'v.mp4').read_bytes()[:1000])
    given = [str(tmp_path / 'cut.mp4'), str(pictures)]
    done = call_tool('predict', segmentor_file, *given, '--out', str(tmp_path / 'o'))
    assert done.returncode == PARTLY and 'cut.mp4 cannot be read' in done.stderr.splitlines()[0]
    assert len(list((tmp_path / 'o/pictures').iterdir())) == 3


@pytest.mark.slow
def test_resuming(segmentor_file: str, pictures: Path, tmp_path: Path) -> None:
    everything = [segmentor_file, str(pictures), '--format', 'png', 'coco', '--out']
    assert call_tool('predict', *everything, str(tmp_path / 'whole')).returncode == 0
    assert (
        call_tool(
            'predict', segmentor_file, str(pictures), '--format', 'png', 'coco', '--out', str(tmp_path / 'part')
        ).returncode
        == 0
    )
    (tmp_path / 'part/coco.json').unlink()
    journal = tmp_path / 'part/journal.jsonl'
    journal.write_text(''.join(journal.read_text().splitlines(keepends=True)[:2]))
    again = call_tool('predict', *everything, str(tmp_path / 'part'))
    one_line(again.returncode, again.stderr, '--resume goes on')
    other = [segmentor_file, str(pictures / 'p0.png'), *everything[2:]]
    again = call_tool('predict', *other, str(tmp_path / 'part'), '--resume')
    one_line(again.returncode, again.stderr, '--resume: expected the options of the run .* input')
    done = call_tool('predict', *everything, str(tmp_path / 'part'), '--resume')
    assert done.returncode == 0 and '1 pictures were there already' in done.stdout and '2 pictures in' in done.stdout
    assert files(tmp_path / 'part') == files(tmp_path / 'whole')


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_files(segmentor_file: str, tmp_path: Path) -> None:
    camera = video(tmp_path / 'camera.mp4', 120)
    command = [str(ROOT / 'tools/predict.py'), segmentor_file, str(camera), '--format', 'png', 'coco', '--out']
    run = Forked([*command, str(tmp_path / 'killed')])
    journal = tmp_path / 'killed/journal.jsonl'
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not journal.exists() or len(journal.read_bytes().splitlines()) < 10):
        time.sleep(0.01)
    run.kill()
    run.wait()
    assert 9 <= len(journal.read_bytes().splitlines()) < 120
    for folder, more in (('killed', ['--resume']), ('whole', [])):
        assert call_tool('predict', *command[1:], str(tmp_path / folder), *more).returncode == 0
    assert files(tmp_path / 'killed') == files(tmp_path / 'whole')


BAD = [
    (['gone.jpg'], [], 'gone.jpg which is not there'),
    (['empty'], [], 'expected pictures .* in .*empty, found none'),
    (['text.jpg'], [], 'text.jpg cannot be read'),
    (['cut.jpg'], [], 'cut.jpg cannot be read'),
    (['cut.mp4'], [], 'input: .*cut.mp4 cannot be read'),
    (['small.png'], [], 'small.png is not taken by the model'),
    (['http://localhost:9/a.jpg'], [], 'cannot be downloaded'),
    (['ok.png'], ['--max-pixels', '100'], 'has 4,800 pixels, where .* --max-pixels 4800 allows it'),
    (['ok.png'], ['--max-pixels', '0'], '--max-pixels: expected 1 or more'),
    (['ok.png'], ['--score', '2'], 'score: expected a number from 0 to 1'),
    (['ok.png'], ['--classes', 'disk'], "did you mean 'disc'"),
    (['ok.png'], ['--batch-size', '0'], 'batch_size: expected'),
    (['ok.png'], ['--device', 'tpu'], 'device: expected'),
    (['ok.png'], ['--every', '0'], '--every: expected'),
    (['ok.png'], ['--no-pictures'], 'nothing would be written'),
    (['ok.png'], ['--format', 'xml'], "invalid choice: 'xml'"),
    (['ok.png'], ['--config', 'gone.py'], 'config: expected a file'),
]


@pytest.mark.parametrize('given, options, line', BAD, ids=lambda value: ' '.join(value) if isinstance(value, list) else '')
def test_what_is_wrong_is_one_line_and_leaves_nothing(segmentor_file: str, tmp_path: Path, given, options, line: str) -> None:
    write_photograph(tmp_path / 'ok.png')
    write_photograph(tmp_path / 'small.png', 5, 5)
    write_photograph(tmp_path / 'cut.jpg', 200, 200)
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / 'cut.jpg').read_bytes()[:3000])
    (tmp_path / 'text.jpg').write_text('a text')
    (tmp_path / 'cut.mp4').write_bytes(video(tmp_path / 'v.mp4').read_bytes()[:1000])
    (tmp_path / 'empty').mkdir()
    before = files(tmp_path)
    sources = [one if '://' in one else str(tmp_path / one) for one in given]
    done = call_tool('predict', segmentor_file, *sources, '--out', str(tmp_path / 'out'), *options)
    one_line(done.returncode, done.stderr, line)
    assert files(tmp_path) == before and not (tmp_path / 'out').exists()


def test_places_that_cannot_be_written_to(segmentor_file: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    camera = str(video(tmp_path / 'v.mp4'))
    cases = [
        (['in'], 'file', [], 'where .*file is a file'),
        (['in'], 'a.png', [], 'expected a folder, or one picture as input for the picture'),
        (['in'], 'a.mp4', [], 'expected a folder, or one video as input for the video'),
        ([camera], 'a.png', [], 'expected a folder, or one picture'),
        ([camera, camera], 'a.mp4', [], 'got 2 inputs'),
        ([camera], 'a.ts', [], 'expected a video that ends in .mp4'),
        (['in/p0.png'], 'in/p0.png', [], 'expected another file than the input'),
        (['in/p0.png'], 'a.png', ['--format', 'png'], '--format: expected a folder as --out'),
        (['in/p0.png'], 'a.png', ['--resume'], '--resume: expected a folder as --out'),
        (['in/p0.png'], 'gone/a.png', [], '--out: expected'),
    ]
    for given, out, options, line in cases:
        inputs = [str(tmp_path / one) for one in given]
        done = call_tool('predict', segmentor_file, *inputs, '--out', str(tmp_path / out), *options)
        one_line(done.returncode, done.stderr, line)
    assert {p.name for p in tmp_path.iterdir()} == {'file', 'in', 'v.mp4'}
