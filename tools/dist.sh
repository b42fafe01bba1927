# Sourced by dist_train.sh and dist_test.sh.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$(command -v python || command -v python3)}
# the project's own environment, where scripts/quickstart.sh or scripts/test.sh made one and no other is active
[ -z "${PYTHON:-}${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$here/../.venv/bin/python" ] && python=$here/../.venv/bin/python

# run_distributed PROGRAM MIN_ARGUMENTS_BESIDE_NPROC CONFIG NPROC ...
run_distributed() {
    local program=$1 needed=$2
    shift 2
    if [ $# -le "$needed" ]; then
        sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
        exit 2
    fi
    local config=$1 nproc=$2
    shift 2
    if ! [[ $nproc =~ ^[1-9][0-9]*$ ]]; then
        echo "error: NPROC, the number of processes, must be a whole number from 1 up, got '$nproc'" >&2
        exit 2
    fi
    if [ "$nproc" -eq 1 ] && [ "${NNODES:-1}" -eq 1 ]; then
        exec "$python" "$here/$program" "$config" "$@"
    fi
    exec "$python" "$here/launch.py" "$nproc" "$here/$program" "$config" "$@" --launcher pytorch
}
