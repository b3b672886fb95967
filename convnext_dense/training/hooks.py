"""Hooks of the tools: a progress bar, pictures of predictions, and equal BatchNorm statistics in every process."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from convnext_dense.data.bands import shown_picture
from convnext_dense.errors import InputError


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """A rich progress bar on a terminal; elsewhere nothing, since the log has its own lines."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.streams: list[tuple[logging.StreamHandler, Any]] = []

    def _start(self, runner: Runner, mode: str, total: int) -> None:
        if self.progress is None:  # once it runs, rich stands in for stdout
            if not (is_main_process() and sys.stdout.isatty()):
                return
            columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[note]}')
            self.progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())
            self.progress.start()
            atexit.register(self._stop)  # a run that breaks off gives the cursor back
            for handler in runner.logger.handlers:  # log lines go above the bar
                if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                    self.streams.append((handler, handler.setStream(sys.stdout)))
        self.tasks[mode] = self.progress.add_task(mode, total=total, note='')

    def _stop(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            for handler, stream in self.streams:
                handler.setStream(stream)
            self.progress, self.tasks, self.streams = None, {}, []

    def _update(self, mode: str, done: int, note: str = '') -> None:
        if self.progress is not None:
            self.progress.update(self.tasks[mode], completed=done, note=note)

    def before_train(self, runner: Runner) -> None:
        self._start(runner, 'train', runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        loss = outputs.get('loss') if outputs else None
        self._update('train', runner.iter + 1, f'loss {float(loss):.3f}' if self.progress and loss is not None else '')

    def after_train(self, runner: Runner) -> None:
        self._stop()

    def before_val_epoch(self, runner: Runner) -> None:
        self._start(runner, 'val', len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None) -> None:
        self._update('val', batch_idx + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self.progress is not None:
            self.progress.remove_task(self.tasks.pop('val'))

    def before_test_epoch(self, runner: Runner) -> None:
        self._start(runner, 'test', len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None) -> None:
        self._update('test', batch_idx + 1)

    def after_test(self, runner: Runner) -> None:
        self._stop()


@HOOKS.register_module()
class SavePicturesHook(Hook):
    """Draws each test image with its mask (left, where there is one) and its prediction (right) into `folder`.

    Pictures are named after the image, with .png; equal names in subfolders keep the subfolder as a prefix. Of pictures
    that are loaded with so many `channels`, the first three are drawn, stretched to bytes; or the first, grey.
    """

    def __init__(self, folder: str, channels: int | None = None) -> None:
        self.folder, self.channels = Path(folder), channels
        self.written: set[str] = set()

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None) -> None:
        for sample in outputs or ():
            path = Path(sample.img_path)
            name = path.stem if path.stem not in self.written else f'{path.parent.name}_{path.stem}'
            self.written.add(name)
            image = shown_picture(path, self.channels)
            out_file = str(self.folder / f'{name}.png')
            runner.visualizer.add_datasample(name, image, data_sample=sample.cpu(), out_file=out_file)
            if not Path(out_file).is_file():  # OpenCV says nothing where it cannot write
                raise InputError(f'--show-dir: expected to write {out_file}, but could not; is the disk full?')


@HOOKS.register_module()
class BroadcastBuffersHook(Hook):
    """Gives every process the buffers of the first before evaluation, as the checkpoint holds them.

    Without SyncBN each process keeps its own running statistics, and the metric would depend on who saw which image.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        for buffer in runner.model.buffers():
            broadcast(buffer)
