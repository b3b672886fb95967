"""A run that shows itself: curves.png and report.html in the work directory, renewed at each validation."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook, IterTimerHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from PIL import Image

from convnext_dense.data.bands import shown_picture
from convnext_dense.data.channels import channels_of
from convnext_dense.errors import last_line
from convnext_dense.expect import expect_whole
from convnext_dense.files import partial_file
from convnext_dense.report.log import PICTURES, read_log
from convnext_dense.training.loops import name_of

EVERY = 10  # iterations after which memory is looked at
SIDE = 360  # pixels of the longer side


@HOOKS.register_module()
class ReportHook(Hook):
    """Draws the run so far after each validation and at its end; what goes wrong in that is a warning, and the run goes on.

    Args:
        pictures: of the validation images, spread evenly over them, that are kept with their predictions.
    """

    priority = 'VERY_LOW'  # after the log is written

    def __init__(self, pictures: int = 4) -> None:
        expect_whole('ReportHook.pictures', pictures, 0)
        self.pictures = pictures
        self.wanted: dict[int, int] = {}  # batches, and the number of their picture
        self.failed = False
        self.looks_at_memory = not torch.cuda.is_available()  # where it is, mmengine logs that of the GPU

    def before_train(self, runner: Runner) -> None:
        """Pictures of later iterations are of a run that this one takes the place of."""
        if is_main_process():
            for path in Path(runner.work_dir, PICTURES).glob('*_*.jpg'):
                if path.stem.split('_')[0].isdecimal() and int(path.stem.split('_')[0]) > runner.iter:
                    path.unlink(missing_ok=True)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """The peak of the process's memory, where there is no GPU whose memory is logged."""
        if self.looks_at_memory and (runner.iter % EVERY == EVERY - 1 or batch_idx == 0):
            runner.message_hub.update_scalar('train/memory', peak_memory(), resumed=False)

    def before_val_epoch(self, runner: Runner) -> None:
        """Choose the pictures, the same at each validation."""
        batches = len(runner.val_dataloader)
        numbers = np.linspace(0, batches - 1, min(self.pictures, batches)).round().astype(int).tolist()
        self.wanted = {batch: number for number, batch in enumerate(dict.fromkeys(numbers))} if is_main_process() else {}

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None) -> None:
        """Keep the picture of this batch, where it is one of those."""
        if batch_idx in self.wanted and outputs:
            self._safely(runner, 'a picture', lambda: self._keep(runner, self.wanted[batch_idx], data_batch, outputs[0]))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw what was logged so far."""
        self._renew(runner)

    def after_train(self, runner: Runner) -> None:
        """Once more, with the lines since the last validation."""
        self._renew(runner)

    def _renew(self, runner: Runner) -> None:
        if is_main_process():
            begun = time.time()
            self._safely(runner, 'the report', lambda: renew(Path(runner.work_dir)))
            for hook in runner.hooks:
                if isinstance(hook, IterTimerHook) and hasattr(hook, 't'):
                    hook.t += time.time() - begun  # the next step has not waited for data meanwhile

    def _keep(self, runner: Runner, number: int, data_batch: Any, sample: Any) -> None:
        from convnext_dense.report.look import annotated, names_of, predicted

        folder = Path(runner.work_dir, PICTURES)
        folder.mkdir(parents=True, exist_ok=True)
        names = names_of(runner.val_dataloader.dataset.metainfo)
        rgb = shown_picture(sample.img_path, channels_of(runner.cfg.val_dataloader))
        _save(folder / f'{runner.iter:08d}_{number}.jpg', predicted(sample, rgb, names))
        truth = folder / f'truth_{number}.jpg'
        given = (data_batch or {}).get('data_samples') if isinstance(data_batch, dict) else None
        shown = annotated(given[0] if given else sample, rgb, names)
        if shown is not None:
            _save(truth, shown)

    def _safely(self, runner: Runner, what: str, draw: Any) -> None:
        try:
            draw()
        except Exception as error:  # of any kind: a picture is not worth a run
            if not self.failed:
                runner.logger.warning(
                    f'report: {what} cannot be drawn ({type(error).__name__}: {last_line(error)}); the run goes on without'
                )
            self.failed = True


def show_end(runner: Runner) -> None:
    """Draw once more when the run is marked as finished."""
    for hook in runner.hooks:
        if isinstance(hook, ReportHook):
            hook._renew(runner)


def report_hooks(cfg: Config) -> list[dict[str, Any]]:
    """The hook, for a config whose `custom_hooks` does not have it."""
    there = any(isinstance(hook, dict) and name_of(hook) == ReportHook.__name__ for hook in cfg.get('custom_hooks') or [])
    return [] if there else [dict(type=ReportHook.__name__)]


def peak_memory() -> float:
    """Of this process since it began, in MiB."""
    unit = 2**20 if sys.platform == 'darwin' else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def renew(folder: Path) -> None:
    """Write curves.png and report.html of the run in a work directory; what the page said of an evaluated model stays."""
    from convnext_dense.report.curves import write_curves  # matplotlib: not for runs that never come to a validation
    from convnext_dense.report.run_page import run_page

    log = read_log(folder)
    drawn, path = folder / 'curves.png', folder / 'report.html'
    write_curves({folder.name: log}, drawn)
    text = run_page(log, before=path, drawn=drawn)
    with partial_file(path) as partial:
        partial.write_text(text, encoding='utf-8')


def _save(path: Path, rgb: Any) -> None:
    image = Image.fromarray(rgb)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    with partial_file(path) as partial:
        image.save(partial, format='JPEG', quality=85)
