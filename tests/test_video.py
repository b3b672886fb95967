"""Videos, written and read back."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from models import photograph

from convnext_dense.errors import InputError
from convnext_dense.predict.video import VideoWriter, frames, rate

FRAMES = [photograph(48, 64, seed) for seed in range(7)]


def write(path: Path, pictures=FRAMES, fps: Fraction = Fraction(10)) -> Path:
    writer = VideoWriter(path, path.suffix, fps)
    for picture in pictures:
        writer.write(picture)
    writer.close()
    return path


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.webm', '.avi', '.mov'])
def test_frames_are_read_back_in_order(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f'a{suffix}')
    found = list(frames(str(path)))
    assert [index for index, _ in found] == list(range(7))
    for (_, frame), picture in zip(found, FRAMES):
        assert np.abs(frame[..., ::-1].astype(int) - picture).mean() < 12  # the codec is lossy; other frames are 50 away
    assert rate(str(path)) == 10


def test_every_nth_frame(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.mp4')
    assert [index for index, _ in frames(str(path), 3)] == [0, 3, 6]


def test_odd_sides_are_cut(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.mp4', [picture[:47, :63] for picture in FRAMES])
    assert next(frames(str(path)))[1].shape == (46, 62, 3)


def test_frames_of_another_size(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / 'a.mp4', '.mp4', Fraction(5))
    writer.write(FRAMES[0])
    with pytest.raises(InputError, match='one size for a video, got 32x48 after 64x48'):
        writer.write(FRAMES[0][:, :32])
    writer.close()


@pytest.mark.parametrize('suffix', ['.mkv', '.avi', '.webm'])
def test_a_video_that_breaks_off_gives_its_frames_first(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f'a{suffix}', FRAMES * 10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = []
    with pytest.raises(InputError, match=r'breaks off after frame \d+ \('):
        for index, _ in frames(str(path)):
            found.append(index)
    assert 0 < len(found) < 70


@pytest.mark.parametrize('content', [b'', b'no video at all' * 100, None])
def test_what_is_no_video(tmp_path: Path, content) -> None:
    path = write(tmp_path / 'a.mp4')
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    for read in (lambda: list(frames(str(path))), lambda: rate(str(path))):
        with pytest.raises(InputError, match='video: .*cannot be read'):
            read()


def test_a_video_without_frames(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / 'a.mka'), 'w', format='matroska') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format='s16', layout='mono')
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match='has no video stream'):
        list(frames(str(tmp_path / 'a.mka')))
