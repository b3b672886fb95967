"""tools/slurm_train.sh, with small programs in the place of Slurm's and of torchrun."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, SHAPES
from forked import CLIENT, place
from soak import free_port

SCRIPT = str(ROOT / 'tools/slurm_train.sh')
SCONTROL = 'echo "scontrol $*" >> {calls}; if [ "$1" = show ]; then printf "localhost\\nlocalhost\\n"; fi'
SQUEUE = 'echo "squeue $*" >> {calls}; echo "$LEFT"'
SRUN = """
echo "srun $*" >> {calls}
while [[ $1 == --* ]]; do shift; done
tasks=(); trap 'kill -TERM "${{tasks[@]}}"' TERM
for node in 0 1; do SLURM_NODEID=$node "$@" & tasks+=($!); done
status=0
for task in "${{tasks[@]}}"; do
  while :; do one=0; wait "$task" || one=$?; kill -0 "$task" 2> /dev/null || break; done
  [[ $one == 0 ]] || status=$one
done
exit $status
"""
TORCHRUN = 'echo "torchrun $*" >> {calls}; eval "$DO"'


class Cluster:
    """Two nodes on this machine; `calls` are the lines of the programs that were called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.work_dir = folder, folder / 'calls', folder / 'work dir'
        self.log.touch()
        (folder / 'bin').mkdir()
        for name, text in dict(scontrol=SCONTROL, squeue=SQUEUE, srun=SRUN, torchrun=TORCHRUN).items():
            self.program(name, text.format(calls=f"'{self.log}'"))

    def program(self, name: str, text: str) -> None:
        path = self.folder / 'bin' / name
        path.write_text(f'#!/usr/bin/env bash\n{text}\n')
        path.chmod(0o755)

    def start(self, *options: str, do: str = 'true', left: str = '12:00:00', **env: str) -> subprocess.Popen:
        slurm = dict(SLURM_JOB_ID='7', SLURM_JOB_NODELIST='node[1-2]', SLURM_JOB_NUM_NODES='2', LEFT=left, DO=do)
        path = f'{self.folder / "bin"}:{Path(sys.executable).parent}:{os.environ["PATH"]}'
        every = {**os.environ, **slurm, 'PATH': path, 'WORK': str(self.work_dir), **env}
        command = ['bash', SCRIPT, str(self.work_dir), *options]
        return subprocess.Popen(command, env=every, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *options: str, **more: str) -> tuple[int, str]:
        done = self.start(*options, **more)
        out, _ = done.communicate(timeout=300)
        return done.returncode, out

    def calls(self, name: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith(f'{name} ')]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


FINISHED = 'mkdir -p "$WORK"; touch "$WORK/finished"'


def test_a_finished_run_is_not_queued_again(cluster: Cluster) -> None:
    assert cluster.run('CONFIG', '--seed', '0', do=FINISHED, PROCESSES='4') == (0, '')
    (srun,) = cluster.calls('srun')
    one, other = cluster.calls('torchrun')
    assert srun == f'srun --kill-on-bad-exit=1 {one}' and one == other
    start = '--nnodes 2 --nproc_per_node 4 --max-restarts 3 --rdzv_id 7.0 --rdzv_backend c10d --rdzv_endpoint localhost:20007'
    train = f'--no-python convnext-dense train CONFIG --seed 0 --work-dir {cluster.work_dir} --launcher pytorch --resume auto'
    assert one == f'torchrun {start} {train} --time-limit 12:00:00'
    assert cluster.calls('scontrol') == ['scontrol show hostnames node[1-2]']
    assert cluster.calls('squeue') == ['squeue -h -j 7 -o %L']


def test_a_run_that_stopped_in_time_is_queued_again(cluster: Cluster) -> None:
    status, out = cluster.run('CONFIG')
    assert status == 0 and 'is not finished: job 7 is queued again' in out
    assert cluster.calls('scontrol')[1:] == ['scontrol requeue 7']


@pytest.mark.parametrize('wrong', [2, 70])
def test_an_error_is_the_jobs(cluster: Cluster, wrong: int) -> None:
    assert cluster.run('CONFIG', do=f'exit $(({wrong} * (1 - SLURM_NODEID)))') == (wrong, '')
    assert len(cluster.calls('scontrol')) == 1


@pytest.mark.parametrize(
    ('left', 'limit'), [('2-01:30:00', '2-01:30:00'), ('9:05', '0:09:05'), ('59:08', '0:59:08'), ('UNLIMITED', None)]
)
def test_the_time_that_slurm_leaves(cluster: Cluster, left: str, limit: str | None) -> None:
    cluster.run('CONFIG', do=FINISHED, left=left)
    given = cluster.calls('torchrun')[0].partition(' --resume auto')[2].strip()
    assert given == (f'--time-limit {limit}' if limit else '')


@pytest.mark.parametrize('number', [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_is_handed_on_and_the_job_queued_again(cluster: Cluster, number: int) -> None:
    ending = 'trap "echo ended >> \'$WORK.ended\'; exit 1" TERM; touch "$WORK.$SLURM_NODEID"; while :; do sleep 0.05; done'
    run = cluster.start('CONFIG', do=ending)
    end = time.monotonic() + 20
    while not all(Path(f'{cluster.work_dir}.{node}').exists() for node in (0, 1)) and time.monotonic() < end:
        time.sleep(0.02)
    run.send_signal(number)
    out, _ = run.communicate(timeout=20)
    assert run.returncode == 0 and 'is queued again' in out
    assert Path(f'{cluster.work_dir}.ended').read_text() == 'ended\nended\n'
    assert cluster.calls('scontrol')[1:] == ['scontrol requeue 7']


def test_how_it_is_called(cluster: Cluster) -> None:
    for options, env in (((), {}), (('CONFIG',), dict(SLURM_JOB_ID=''))):
        status, out = cluster.run(*options, **env)
        assert status == 2 and 'sbatch --nodes 2' in out and 'slurm_train.sh WORK_DIR CONFIG' in out
    assert cluster.log.read_text() == ''


@pytest.mark.slow
def test_two_nodes_train_and_go_on_when_queued_again(cluster: Cluster, shapes: str) -> None:
    """Real torchruns: the job is stopped after the second iteration, queued, and started once more."""
    for name, module in {'torchrun': 'torch.distributed.run', 'convnext-dense': 'convnext_dense_cli'}.items():
        cluster.program(name, f'exec {" ".join(CLIENT)} -c "from {module} import main; main()" "$@"')
    place()
    steps = ['train_cfg.max_iters=4', 'train_cfg.val_interval=4', 'default_hooks.checkpoint.interval=1']
    options = [SHAPES, '--data-root', shapes, '--seed', '0', '--check-data', 'off', '--cfg-options', *QUICK, *steps]
    env = dict(PORT=str(free_port()))
    run = cluster.start(*options, **env)
    end = time.monotonic() + 200
    while not (cluster.work_dir / 'iter_2.pth').exists() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    run.send_signal(signal.SIGUSR1)
    out, _ = run.communicate(timeout=100)
    assert run.returncode == 0 and 'stopped by SIGTERM' in out and cluster.calls('scontrol')[-1] == 'scontrol requeue 7', out
    status, out = cluster.run(*options, SLURM_RESTART_COUNT='1', **env)
    assert status == 0 and 'resume: goes on from' in out and (cluster.work_dir / 'iter_4.pth').exists(), out
    assert len(cluster.calls('scontrol')) == 3 and (cluster.work_dir / 'finished').exists()
