#!/usr/bin/env bash
# Train on one machine or several through Slurm: submits a job that saves and queues itself again when its time is over.
#   [GPUS=8] bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [train.py options]
# Environment: GPUS (processes in all), GPUS_PER_NODE (0: CPUs), CPUS_PER_TASK, SBATCH_ARGS, SRUN_ARGS, PORT, PYTHON.
# docs/clusters.md says more.

fail() { echo "error: $1" >&2; exit 2; }

# words VARIABLE: its words, into the array `words`; quotes hold a word together as they do in a shell, nothing is run
words() {
    local lines
    words=()
    lines=$(xargs -n 1 printf '%s\n' <<<"${!1}" 2>/dev/null) || fail "$1 has a quote without its other half: ${!1}"
    [ -z "$lines" ] || mapfile -t words <<<"$lines"
}

# Inside the job: find the others, start all processes, hand signals on, wait for them however long they take to save.
run_job() {
    local nodes job=$SLURM_JOB_ID child code waiting=1 again='' early='' resume=()
    # SIGNAL AGAIN: hand a signal on, or keep it until there is a run to get it; AGAIN: whether to be queued again
    pass_on() {
        again=$2 waiting=1
        if [ "$!" ]; then kill -s "$1" "$!" 2>/dev/null; else early=$1; fi
    }
    begin() { [ "$early" ] && kill -s "$early" "$BASHPID"; exec "$@"; } # in the background
    trap 'pass_on USR1 1' USR1
    trap 'pass_on TERM "$again"' TERM # scancel: what somebody cancels must not come back
    nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
    MASTER_ADDR=${nodes%%$'\n'*}
    MASTER_PORT=${PORT:-$((15000 + SLURM_JOB_ID % 15000))} # jobs that share a machine take others
    export MASTER_ADDR MASTER_PORT OMP_NUM_THREADS=${OMP_NUM_THREADS:-$CPUS_PER_TASK}
    export TORCH_CPP_LOG_LEVEL=${TORCH_CPP_LOG_LEVEL:-ERROR}
    # only where this job was here before: a new one in an old work dir is a fresh run, as with train.py
    [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && resume=(--resume)
    words SRUN_ARGS
    # processes tell each other who is lost and end by themselves: none is to be killed while another one saves
    begin srun --kill-on-bad-exit=0 --wait=0 --cpus-per-task="$CPUS_PER_TASK" "${words[@]}" \
        "$PYTHON" "$OPENMIX_TOOLS/train.py" "$@" --launcher slurm "${resume[@]}" &
    child=$!
    while [ "$waiting" ]; do waiting=; wait "$child"; code=$?; done
    if [ "$again" ] && { [ "$code" -eq 75 ] || [ "$code" -eq 138 ]; }; then # 138: USR1 before it had loaded
        echo "stopped after saving; $job is queued again"
        scontrol requeue "$job"
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
[[ $partition =~ ^[^[:space:]]+$ ]] || fail "PARTITION must be a word, got '$partition'"
[[ -n $name && $name != */* && $name != *$'\n'* ]] || # its log is JOB_NAME-JOB.log
    fail "JOB_NAME must be a name, without a slash, got '$name'"
[ -f "$config" ] || fail "there is no config $config"
[[ -n ${1:-} && $1 != -* ]] && set -- --work-dir "$@" # where other code bases have it
[[ " $* " =~ \ --resume(=|\ [^-]) ]] && # a job that is queued again must not begin there once more
    fail "a job continues its own work dir: say --resume alone; to begin with another's weights set load_from"

: "${GPUS:=8}" "${GPUS_PER_NODE:=$((GPUS < 8 ? GPUS : 8))}" "${CPUS_PER_TASK:=5}"
for variable in GPUS GPUS_PER_NODE CPUS_PER_TASK; do
    [[ ${!variable} =~ ^(0|[1-9][0-9]*)$ ]] || fail "$variable must be a whole number, got '${!variable}'"
done
[ "$GPUS" -ge 1 ] && [ "$CPUS_PER_TASK" -ge 1 ] || fail "GPUS and CPUS_PER_TASK must be at least 1"
[[ -z ${PORT:-} || ($PORT =~ ^[1-9][0-9]{0,4}$ && $PORT -le 65535) ]] || fail "PORT must be 1 to 65535, got '$PORT'"
place=(--ntasks="$GPUS")
if [ "$GPUS_PER_NODE" -gt 0 ]; then
    [ $((GPUS % GPUS_PER_NODE)) -eq 0 ] || fail "GPUS=$GPUS is no multiple of GPUS_PER_NODE=$GPUS_PER_NODE"
    place+=(--nodes=$((GPUS / GPUS_PER_NODE)) --ntasks-per-node="$GPUS_PER_NODE" --gres=gpu:"$GPUS_PER_NODE")
fi
command -v sbatch >/dev/null || fail "there is no sbatch on the PATH: this is for a machine of a Slurm cluster; see tools/dist_train.sh"
source "$(dirname "${BASH_SOURCE[0]}")/dist.sh" # $here and $python
words SRUN_ARGS
words SBATCH_ARGS
# what is wrong with the config is better known now than when the job's turn has come
found=$("$python" -m openmix check "$config" 2>&1)
[ $? -ne 2 ] || { echo "$found" >&2; exit 2; }
export OPENMIX_TOOLS=$here PYTHON=$python CPUS_PER_TASK SRUN_ARGS
# of an option that is there twice the last one counts, which is the caller's
exec sbatch --partition="$partition" --job-name="$name" "${place[@]}" --cpus-per-task="$CPUS_PER_TASK" \
    --output="${name//%/%%}-%j.log" --open-mode=append --requeue --signal=B:USR1@120 "${words[@]}" \
    "$here/slurm_train.sh" --inside-job "$config" "$@"
