"""Frames of a video, and a video of frames, through PyAV.

PyAV, rather than a pipe to an ffmpeg program: its wheels bring the decoders, frames come into this process without a copy
through a pipe, a broken file raises where it breaks, and nothing is left running when a reader stops early.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext_dense.errors import InputError, reason

CODECS = {'.mp4': 'libx264', '.mkv': 'libx264', '.mov': 'libx264', '.webm': 'libvpx-vp9', '.avi': 'mpeg4'}  # of what is written
PIXELS = 'yuv420p'  # which every player shows; sides are even in it


def pyav() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise InputError(f'video: expected PyAV, which is not installed ({error}); pip install av') from error
    av.logging.set_level(av.logging.PANIC)  # what FFmpeg would write to the terminal is in the errors
    return av


def frames(path: str, every: int = 1) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(number, (H, W, 3) BGR bytes) of each `every`-th frame, turned as players show it.

    Raises:
        InputError: for a file that is no video, has no frames, or breaks off; what came before that has been given.
    """
    av, index, seconds, ended, last = pyav(), -1, 0.0, 0.0, 0.0
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise InputError(f'video: {path} has no video stream')
            stream = container.streams.video[0]
            stream.thread_type = 'AUTO'
            seconds = _seconds(av, container, stream)
            last = float(1 / stream.average_rate) if stream.average_rate else 0.0  # which the last picture stays
            for index, frame in enumerate(container.decode(stream)):
                ended = max(ended, frame.time or 0)
                if index % every == 0:
                    yield index, _turned(frame.to_ndarray(format='bgr24'), getattr(frame, 'rotation', 0))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        where = f'breaks off after frame {index}' if index >= 0 else 'cannot be read'
        raise InputError(f'video: {path} {where} ({reason(error)}); copy or convert it again') from error
    if index < 0:
        raise InputError(f'video: {path} has no frames; copy or convert it again')
    if seconds - ended - last > max(1, 0.02 * seconds):  # decoders of some containers end without an error
        raise InputError(
            f'video: {path} breaks off after frame {index} ({ended:.1f} of {seconds:.1f} seconds); copy or convert it again'
        )


def _seconds(av: Any, container: Any, stream: Any) -> float:
    """How long the container says that its pictures go on; 0 where it does not say, or means the sound."""
    if stream.duration and stream.time_base:
        return float((stream.start_time or 0) * stream.time_base + stream.duration * stream.time_base)
    alone = len(container.streams) == 1
    return ((container.start_time or 0) + container.duration) / av.time_base if alone and container.duration else 0.0


def _turned(frame: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """As its display matrix asks, counter-clockwise."""
    return np.ascontiguousarray(np.rot90(frame, round(degrees / 90) % 4)) if degrees else frame


def rate(path: str) -> Fraction:
    """Frames per second; 25 where the file does not say."""
    av = pyav()
    try:
        with av.open(path) as container:
            stream = container.streams.video[0] if container.streams.video else None
            return (stream.average_rate if stream is not None else None) or Fraction(25)
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f'video: {path} cannot be read ({reason(error)}); copy or convert it again') from error


class VideoWriter:
    """A video of frames (H, W, 3) in RGB, all of the first one's size; sides are cut to even numbers of pixels."""

    def __init__(self, path: Path, suffix: str, frames_per_second: Fraction) -> None:
        self.container: Any = pyav().open(str(path), 'w', format={'.mkv': 'matroska'}.get(suffix, suffix[1:]))
        self.stream = self.container.add_stream(CODECS[suffix], rate=frames_per_second)
        self.stream.pix_fmt = PIXELS
        self.started = False

    def write(self, frame: NDArray[np.uint8]) -> None:
        height, width = (side - side % 2 for side in frame.shape[:2])
        if not self.started:
            self.stream.height, self.stream.width, self.started = height, width, True
        if (height, width) != (self.stream.height, self.stream.width):
            raise InputError(
                f'--out: expected frames of one size for a video, got {width}x{height} after '
                f'{self.stream.width}x{self.stream.height}; write to a folder'
            )
        cut = np.ascontiguousarray(frame[:height, :width])
        self._encode(pyav().VideoFrame.from_ndarray(cut, format='rgb24'))

    def close(self) -> None:
        """Write what the encoder holds back, and end the file."""
        try:
            if self.started:
                self._encode(None)
        finally:
            self.container.close()

    def _encode(self, frame: Any) -> None:
        for packet in self.stream.encode(frame):
            self.container.mux(packet)
