"""Bash scripts of a study, for those who want no queue: its runs one after the other through ``dist_train.sh``."""

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import openmix
from openmix.results.grids.manifest import Entry

__all__ = ["SCRIPTS", "script"]

TOOLS = Path(openmix.__file__).resolve().parents[1] / "tools"

TRAIN = """\
hashes=(  # of the configs, in the order of the names
HASHES
)

start() {  # NAME: becomes the run
    local i=0 resume=
    while [ "${names[i]}" != "$1" ]; do i=$((i + 1)); done
    # what is there of another config is not continued: training moves it to earlier/
    grep -qs "\\"config_hash\\": \\"${hashes[i]}\\"" "$here/runs/$1/run.json" && resume=--resume
    exec bash "$tools/dist_train.sh" "$here/configs/$1.py" "$nproc" --config-hash "${hashes[i]}" $resume
}
"""
TEST = """\
start() {  # NAME: becomes the run
    local checkpoint=$here/runs/$1/checkpoints/last.pth
    if [ ! -e "$checkpoint" ]; then
        echo "error: $1 has no checkpoint yet" >&2
        exit 1
    fi
    exec bash "$tools/dist_test.sh" "$here/configs/$1.py" "$nproc" "$checkpoint" --out "$here/runs/$1/test.json"
}
"""
SCRIPTS = {
    "train.sh": ("Train", "What was interrupted is continued; what is finished is left as it is.", TRAIN),
    "test.sh": ("Evaluate", "Each run's last checkpoint; the figures go to runs/NAME/test.json.", TEST),
}

BODY = """\
#!/usr/bin/env bash
# {does} the runs of this study one after the other, or those that are named or numbered from 1:
#   bash {file} [NAME or NUMBER ...]
# {says} Goes on after a run that failed, and stops where one was
# stopped (exit code 75, to be started again) or interrupted (130). Written by `openmix grid make`.
# Environment: NPROC, processes a run; OPENMIX_TOOLS, the folder of dist_train.sh; and what that takes.
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd -P)
tools=${{OPENMIX_TOOLS:-$here/{tools}}}
nproc=${{NPROC:-{nproc}}}
names=(
{names}
)

if [ ! -f "$tools/dist_train.sh" ]; then
    echo "error: no dist_train.sh in $tools; set OPENMIX_TOOLS to openmix's folder tools" >&2
    exit 2
fi

name_of() {{  # NAME or NUMBER
    local name
    for name in "${{names[@]}}"; do
        [ "$name" = "$1" ] && echo "$name" && return
    done
    if [[ $1 =~ ^[1-9][0-9]{{0,5}}$ ]] && [ "$1" -le ${{#names[@]}} ]; then
        echo "${{names[$1 - 1]}}"
        return
    fi
    echo "error: this study has no run '$1'; it has ${{#names[@]}}, the first is ${{names[0]}}" >&2
    return 2
}}

{function}
# a run is a job of its own, so that a signal to this script reaches it once, whoever sent it to whom
set -m
child=
stop=
pass_on() {{  # SIGNAL CODE
    stop=$2
    [ -z "$child" ] || kill "-$1" "$child" 2>/dev/null
}}
trap 'pass_on INT 130' INT
trap 'pass_on TERM 75' TERM
trap 'pass_on USR1 75' USR1

chosen=()
for word in "$@"; do
    name=$(name_of "$word") || exit 2
    chosen+=("$name")
done
[ $# -gt 0 ] || chosen=("${{names[@]}}")
failed=()
number=0
for name in "${{chosen[@]}}"; do
    [ -z "$stop" ] || exit "$stop"  # it came between two runs
    number=$((number + 1))
    echo "[$number of ${{#chosen[@]}}] $name"
    start "$name" &
    child=$!
    code=0
    wait $child || code=$?
    while kill -0 $child 2>/dev/null; do  # a signal ended the wait, not the run
        code=0
        wait $child || code=$?
    done
    child=
    case $code in
        0) ;;
        75 | 130 | 138 | 143)
            echo "$name was stopped (exit code $code); start this again to continue" >&2
            exit $code
            ;;
        *)
            echo "$name failed (exit code $code)" >&2
            failed+=("$name")
            ;;
    esac
done
if [ ${{#failed[@]}} -gt 0 ]; then
    echo "${{#failed[@]}} of ${{#chosen[@]}} failed: ${{failed[*]}}" >&2
    exit 1
fi
"""


def script(file: str, folder: Path, entries: Sequence[Entry], nproc: int) -> str:
    """Return the text of a study's script.

    Args:
        file: a key of :data:`SCRIPTS`.
        folder: the study's; the script finds openmix's tools from there, unless it is told where they are.
        entries: the runs.
        nproc: processes a run.
    """
    does, says, function = SCRIPTS[file]
    tools = shlex.quote(os.path.relpath(TOOLS, folder.resolve()))
    names, hashes = _listed(entry.name for entry in entries), _listed(entry.config_hash for entry in entries)
    function = function.replace("HASHES", hashes).rstrip()
    return BODY.format(does=does, says=says, file=file, tools=tools, nproc=nproc, names=names, function=function)


def _listed(words: Iterable[str]) -> str:
    return "\n".join(f"    {shlex.quote(word)}" for word in words)
