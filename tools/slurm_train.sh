#!/usr/bin/env bash
# Train on the nodes of a Slurm job, which is queued again until the run is finished.
#
#   sbatch --nodes 2 --gpus-per-node 8 --time 12:00:00 tools/slurm_train.sh WORK_DIR CONFIG [OPTIONS of convnext-dense train]
#
# One torchrun a node, started by srun, with a process for each GPU of the node (PROCESSES sets another number, RESTARTS how
# often a node starts its processes again, 3 by default, PORT where they meet). The run goes on from its last checkpoint, stops
# in time before the job's limit, and on SIGUSR1 or SIGTERM of Slurm; then the job is queued again, under the same number. It
# is not where the run is finished (WORK_DIR/finished), nor where it ended with an error, whose status is the job's.
# WORK_DIR is a folder that all nodes see.
#SBATCH --job-name=convnext-dense
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
set -euo pipefail

if [[ $# -lt 2 || -z ${SLURM_JOB_ID:-} ]]; then
  sed -n '2,4p' "$0" | cut -c3- >&2 # the lines at the head
  exit 2
fi
work_dir=$1
shift

nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=${nodes%%$'\n'*}
left=$(squeue -h -j "$SLURM_JOB_ID" -o %L) # D-HH:MM:SS, MM:SS, or words where there is no limit
limit=()
if [[ $left =~ ^([0-9]+):([0-9]+)$ ]]; then
  limit=(--time-limit "$(printf '0:%02d:%s' "$((10#${BASH_REMATCH[1]}))" "${BASH_REMATCH[2]}")")
elif [[ $left =~ ^([0-9]+-)?[0-9]+:[0-9]+:[0-9]+$ ]]; then
  limit=(--time-limit "$left")
fi
processes=${PROCESSES:-${SLURM_GPUS_ON_NODE:-1}}
port=${PORT:-$((20000 + SLURM_JOB_ID % 20000))}

stopped=
step=
stop() {
  stopped=yes
  if [[ -n $step ]]; then
    kill -TERM "$step" 2>/dev/null || true # srun hands it on to every torchrun, and each of them to its processes
  fi
}
trap stop USR1 TERM

srun --kill-on-bad-exit=1 torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc_per_node "$processes" \
  --max-restarts "${RESTARTS:-3}" --rdzv_id "$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}" --rdzv_backend c10d \
  --rdzv_endpoint "$first:$port" --no-python convnext-dense train "$@" \
  --work-dir "$work_dir" --launcher pytorch --resume auto "${limit[@]}" &
step=$!
if [[ -n $stopped ]]; then
  stop
fi

status=0
wait "$step" || status=$?
while kill -0 "$step" 2>/dev/null; do # a signal ends `wait`, not the step
  status=0
  wait "$step" || status=$?
done

if [[ -e $work_dir/finished ]]; then
  exit 0
fi
if [[ $status -eq 0 || -n $stopped ]]; then
  echo "the run in $work_dir is not finished: job $SLURM_JOB_ID is queued again"
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$status"
