"""A process of several is killed: the others end with a line, torchrun starts them again, and the run goes on."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import QUICK, SHAPES, call_tool, torchrun
from forked import Forked
from soak import losses

PATIENCE = 120  # seconds


class Restarted:
    """`torchrun --max-restarts 3` of two training processes; `text` is what they write."""

    def __init__(self, folder: Path, name: str, options: list[str]) -> None:
        self.log, self.name = folder / f'{name}.log', f'{folder.name}_{name}'
        command = torchrun('train', '--nproc_per_node', '2', '--max-restarts', '3', '--rdzv_id', self.name)
        command += [*options, '--work-dir', str(folder / name), '--launcher', 'pytorch', '--resume', 'auto']
        with open(self.log, 'w') as log:
            self.process = Forked(command, log.fileno(), log.fileno())

    @property
    def text(self) -> str:
        return self.log.read_text(errors='replace')

    def wait_for(self, words: str) -> None:
        end = time.monotonic() + PATIENCE
        while words not in self.text:
            assert self.process.poll() is None and time.monotonic() < end, self.text
            time.sleep(0.01)

    def worker(self, rank: int) -> int:
        """The process id of a rank: of the one that torchrun started, with which the one that trains is killed."""
        wanted = {f'RANK={rank}', f'TORCHELASTIC_RUN_ID={self.name}'}
        for path in Path('/proc').glob('[0-9]*'):
            try:
                parent = int((path / 'stat').read_text().rpartition(')')[2].split()[1])
                if parent == self.process.pid and wanted <= set((path / 'environ').read_text().split('\0')):
                    return int(path.name)
            except OSError:
                continue
        raise AssertionError(f'no process of rank {rank}')


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='finds the processes in /proc')
def test_a_killed_process_is_started_again(tmp_path: Path, shapes: str) -> None:
    """With the model divided among them. Equal bits: test_sharded.py, and tests/soak.py without --fsdp."""
    schedule = ['train_cfg.max_iters=5', 'train_cfg.val_interval=5', 'default_hooks.checkpoint.interval=1']
    options = [SHAPES, '--data-root', shapes, '--seed', '0', '--check-data', 'off', '--fsdp']
    options += ['--cfg-options', *QUICK, *schedule, 'optim_wrapper.accumulative_counts=2']
    run = Restarted(tmp_path, 'killed', options)
    run.wait_for('iter_3.pth is on the disk')
    os.kill(run.worker(0), signal.SIGKILL)
    killed = time.monotonic()
    run.wait_for('error: another process of this run ended (')
    assert time.monotonic() - killed < 60
    assert run.process.wait(PATIENCE) == 0, run.text
    assert 'resume: goes on from' in run.text and (tmp_path / 'killed/finished').exists()
    content = torch.load(tmp_path / 'killed/iter_5.pth', weights_only=True)
    logged = losses(tmp_path / 'killed')
    assert content['meta']['iter'] == 5 and {step for name, step in logged if name == 'loss'} == {1, 2, 3, 4, 5}
    done = call_tool('test', SHAPES, str(tmp_path / 'killed'), '--data-root', shapes, '--cfg-options', *QUICK)
    assert done.returncode == 0, done.stderr
    assert f'mIoU: {logged["mIoU", 5]:.4f}' in done.stdout
