"""What is said where a run stops: with what could not be run again, could not be written, or was of another process."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from guard_runs import TinyModel
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement
from torch import nn

from convnext_dense.training.nan_batch import Suspect, stopped


def batch(*values: float) -> dict[str, Any]:
    samples = [BaseDataElement(metainfo=dict(img_path=f'{i}.png', spoilt=False)) for i in range(len(values))]
    return dict(inputs=[torch.full((3, 4, 4), value) for value in values], data_samples=samples)


@pytest.fixture
def parts(tmp_path: Path):
    model = TinyModel()
    model.init_weights()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    return SimpleNamespace(model=model, work_dir=str(tmp_path), seed=3, train_loop=SimpleNamespace(seed=3)), wrapper


def test_only_the_picture_that_is_spoilt_is_to_be_repaired(parts, tmp_path: Path) -> None:
    error = stopped(*parts, Suspect(6, batch(1.0, torch.inf), ['loss_a'], dict(loss_a=torch.nan)), 4)
    assert 'got 4 steps in a row without, last in iteration 7 (loss_a)' in str(error)
    assert 'pictures: 0.png, 1.png' in str(error) and 'repair 1.png, which' in str(error)
    assert torch.load(tmp_path / 'nan_batch.pth', weights_only=True)['iteration'] == 7


def test_a_batch_that_was_fine_in_this_process_is_not_written(parts, tmp_path: Path) -> None:
    error = stopped(*parts, Suspect(0, batch(1.0, 2.0), [], {}), 4)
    assert 'none, when the batch was run again' in str(error) and not list(tmp_path.iterdir())


def test_a_loss_that_no_layer_explains(parts, tmp_path: Path) -> None:
    error = stopped(*parts, Suspect(0, batch(1.0, 2.0), ['loss_b'], dict(loss_b=torch.inf)), 4)
    assert 'not finite: none but loss_b;' in str(error) and (tmp_path / 'nan_batch.pth').is_file()


def test_a_model_that_cannot_be_run_again(parts) -> None:
    runner, wrapper = parts
    runner.model = nn.Linear(1, 1)  # without train_step
    assert 'unknown, since the batch could not be run again' in str(stopped(runner, wrapper, Suspect(0, batch(1.0), [], {}), 4))


def test_a_work_directory_that_is_gone_hides_nothing(parts, tmp_path: Path) -> None:
    parts[0].work_dir = str(tmp_path / 'gone')
    error = stopped(*parts, Suspect(0, batch(torch.nan), ['loss_a'], dict(loss_a=torch.nan)), 4)
    assert 'nan_batch.pth could not be written' in str(error) and 'data_preprocessor' in str(error)
