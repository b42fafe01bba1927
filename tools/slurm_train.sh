#!/usr/bin/env bash
# Train on one machine or several through Slurm: submits a job that saves and queues itself again when its time is over.
#   [GPUS=8] bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [train.py options]
# Environment: GPUS (processes in all), GPUS_PER_NODE (0: CPUs), CPUS_PER_TASK, SBATCH_ARGS, SRUN_ARGS, PORT, PYTHON.
# docs/clusters.md says more.

fail() { echo "error: $1" >&2; exit 2; }

# Inside the job: find the others, start all processes, hand signals on, wait for them however long they take to save.
run_job() {
    local nodes child waiting=1 again='' code
    nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
    MASTER_ADDR=${nodes%%$'\n'*}
    MASTER_PORT=${PORT:-$((15000 + SLURM_JOB_ID % 15000))} # jobs that share a machine take others
    export MASTER_ADDR MASTER_PORT OMP_NUM_THREADS=${OMP_NUM_THREADS:-$CPUS_PER_TASK}
    export TORCH_CPP_LOG_LEVEL=${TORCH_CPP_LOG_LEVEL:-ERROR}
    # processes tell each other who is lost and end by themselves: none is to be killed while another one saves
    # shellcheck disable=SC2086  # SRUN_ARGS is several words
    srun --kill-on-bad-exit=0 --wait=0 --cpus-per-task="$CPUS_PER_TASK" $SRUN_ARGS \
        "$PYTHON" "$OPENMIX_TOOLS/train.py" "$@" --launcher slurm --resume &
    child=$!
    pass_on() { again=$2 waiting=1; kill -s "$1" "$child" 2>/dev/null; }
    trap 'pass_on USR1 1' USR1
    trap 'pass_on TERM "$again"' TERM # scancel: what somebody cancels must not come back
    while [ "$waiting" ]; do waiting=; wait "$child"; code=$?; done
    if [ "$again" ] && { [ "$code" -eq 75 ] || [ "$code" -eq 138 ]; }; then # 138: before it had loaded
        echo "stopped after saving; job $SLURM_JOB_ID is queued again"
        scontrol requeue "$SLURM_JOB_ID"
    fi
    exit "$code"
}

if [ "$1" = --inside-job ]; then
    shift
    run_job "$@"
fi

[ $# -ge 3 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
partition=$1 name=$2 config=$3
shift 3
[ -f "$config" ] || fail "there is no config $config"
[[ -n ${1:-} && $1 != -* ]] && set -- --work-dir "$@" # where other code bases have it
[[ " $* " =~ \ --resume(=|\ [^-]) ]] && # a job that is queued again must not begin there once more
    fail "a job resumes its work dir's newest checkpoint; to begin with another's weights set load_from"

: "${GPUS:=8}" "${GPUS_PER_NODE:=$((GPUS < 8 ? GPUS : 8))}" "${CPUS_PER_TASK:=5}"
for variable in GPUS GPUS_PER_NODE CPUS_PER_TASK; do
    [[ ${!variable} =~ ^(0|[1-9][0-9]*)$ ]] || fail "$variable must be a whole number, got '${!variable}'"
done
[ "$GPUS" -ge 1 ] && [ "$CPUS_PER_TASK" -ge 1 ] || fail "GPUS and CPUS_PER_TASK must be at least 1"
place=(--ntasks="$GPUS")
if [ "$GPUS_PER_NODE" -gt 0 ]; then
    [ $((GPUS % GPUS_PER_NODE)) -eq 0 ] || fail "GPUS=$GPUS is no multiple of GPUS_PER_NODE=$GPUS_PER_NODE"
    place+=(--nodes=$((GPUS / GPUS_PER_NODE)) --ntasks-per-node="$GPUS_PER_NODE" --gres=gpu:"$GPUS_PER_NODE")
fi
command -v sbatch >/dev/null || fail "there is no sbatch on the PATH: this is for a machine of a Slurm cluster; see tools/dist_train.sh"
source "$(dirname "${BASH_SOURCE[0]}")/dist.sh" # $here and $python
export OPENMIX_TOOLS=$here PYTHON=$python CPUS_PER_TASK SRUN_ARGS
# shellcheck disable=SC2086  # SBATCH_ARGS is several words, and the last one counts
exec sbatch --partition="$partition" --job-name="$name" "${place[@]}" --cpus-per-task="$CPUS_PER_TASK" \
    --output="$name-%j.log" --open-mode=append --requeue --signal=B:USR1@120 $SBATCH_ARGS \
    "$here/slurm_train.sh" --inside-job "$config" "$@"
