"""The progress bar on a terminal and elsewhere; pictures with equal names."""

import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from channel_sets import picture, write_tiff
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from convnext_dense import InputError
from convnext_dense.data.bands import displayed
from convnext_dense.training.hooks import ProgressBarHook, SavePicturesHook


class Screen(io.StringIO):
    """Stands in for stdout, on a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize('terminal', [True, False])
def test_a_run_with_validation(monkeypatch, terminal: bool) -> None:
    screen = Screen(terminal)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setattr(sys, 'stdout', screen)
    handler = logging.StreamHandler(screen)
    logger = logging.Logger('run')
    logger.addHandler(handler)
    runner = SimpleNamespace(max_iters=4, iter=0, val_dataloader=range(3), logger=logger)
    hook = ProgressBarHook()
    hook.before_train(runner)
    for runner.iter in range(4):
        hook.after_train_iter(runner, runner.iter, outputs=dict(loss=torch.tensor(0.25)))
        logger.warning('a line of the log')
        if runner.iter % 2:
            hook.before_val_epoch(runner)
            for i in range(3):
                hook.after_val_iter(runner, i)
            hook.after_val_epoch(runner)
    hook.after_train(runner)
    shown = screen.getvalue()
    assert shown.count('a line of the log') == 4
    assert ('4/4' in shown and 'loss 0.250' in shown) == terminal
    assert handler.stream is screen and hook.progress is None
    if not terminal:
        assert shown == 4 * 'a line of the log\n'


def test_a_test_run_on_a_terminal(monkeypatch) -> None:
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, 'stdout', screen)
    runner = SimpleNamespace(test_dataloader=range(2), logger=logging.Logger('run'))
    hook = ProgressBarHook()
    hook.before_test_epoch(runner)
    for i in range(2):
        hook.after_test_iter(runner, i)
    hook.after_test(runner)
    assert '2/2' in screen.getvalue()


def test_pictures_with_equal_names_do_not_overwrite_each_other(tmp_path) -> None:
    from mmseg.visualization import SegLocalVisualizer

    visualizer = SegLocalVisualizer(name='test_pictures')
    visualizer.dataset_meta = dict(classes=('a', 'b'), palette=[[0, 0, 0], [255, 0, 0]])
    hook = SavePicturesHook(str(tmp_path / 'pictures'))
    for folder in ('one', 'two'):
        (tmp_path / folder).mkdir()
        Image.new('RGB', (40, 30)).save(tmp_path / folder / 'same.jpg')
        sample = SegDataSample(metainfo=dict(img_path=str(tmp_path / folder / 'same.jpg')))
        sample.pred_sem_seg = PixelData(data=torch.zeros(1, 30, 40, dtype=torch.long))
        hook.after_test_iter(SimpleNamespace(visualizer=visualizer), 0, outputs=[sample])
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) == ['same.png', 'two_same.png']
    assert Image.open(tmp_path / 'pictures' / 'same.png').size == (40, 30)


def test_pictures_of_other_channels_are_drawn_by_their_first_bands(tmp_path) -> None:
    write_tiff(tmp_path / 'a.tif', picture(5))
    drawn = []

    def add_datasample(name, image, data_sample, out_file) -> None:
        drawn.append(image)
        Path(out_file).touch()

    sample = SegDataSample(metainfo=dict(img_path=str(tmp_path / 'a.tif')))
    runner = SimpleNamespace(visualizer=SimpleNamespace(add_datasample=add_datasample))
    SavePicturesHook(str(tmp_path), channels=5).after_test_iter(runner, 0, outputs=[sample])
    assert np.array_equal(drawn[0], displayed(picture(5), (0, 1, 2)))


def test_a_picture_that_could_not_be_written(tmp_path) -> None:
    Image.new('RGB', (40, 30)).save(tmp_path / 'a.jpg')
    sample = SegDataSample(metainfo=dict(img_path=str(tmp_path / 'a.jpg')))
    silent = SimpleNamespace(visualizer=SimpleNamespace(add_datasample=lambda *args, **options: None))
    with pytest.raises(InputError, match='--show-dir: expected to write .*a.png'):
        SavePicturesHook(str(tmp_path / 'pictures')).after_test_iter(silent, 0, outputs=[sample])


def test_the_logs_file_keeps_its_stream_while_the_bar_runs(monkeypatch, tmp_path) -> None:
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, 'stdout', screen)
    logger = logging.Logger('run')
    file = logging.FileHandler(tmp_path / 'run.log')
    other = logging.Handler()
    logger.handlers = [file, other]
    stream, hook = file.stream, ProgressBarHook()
    hook.before_train(SimpleNamespace(max_iters=2, logger=logger))
    assert hook.streams == [] and file.stream is stream
    hook.after_train(SimpleNamespace())
    file.close()
