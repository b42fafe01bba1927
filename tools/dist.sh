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
    local launcher=launch.py options=() option
    for option in "$@"; do
        if [ "$option" = --rdzv ]; then launcher=elastic.py; else options+=("$option"); fi
    done
    if [ "$launcher" = elastic.py ] && [ "$program" != train.py ]; then
        echo "error: --rdzv starts lost processes of a training again; an evaluation is simply started anew" >&2
        exit 2
    fi
    if [ "$launcher" = launch.py ] && [ "$nproc" -eq 1 ] && [ "${NNODES:-1}" = 1 ]; then
        exec "$python" "$here/$program" "$config" "$@"
    fi
    # else torch's agent would tell of another that is gone in forty lines of C++
    [ "$launcher" = elastic.py ] && export TORCH_CPP_LOG_LEVEL=${TORCH_CPP_LOG_LEVEL:-ERROR}
    exec "$python" "$here/$launcher" "$nproc" "$here/$program" "$config" ${options[@]+"${options[@]}"} --launcher pytorch
}
