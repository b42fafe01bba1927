"""The other end of the fixture ``forks``: forks processes that train or save, and may be killed.

It imports once, then forks for each request, so that a test of twenty kills does not wait for twenty imports of torch.
"""

import json
import os
import sys
import traceback
from typing import Any

import faults

from openmix.commands import run_command
from openmix.engine import run as _  # noqa: F401  imported before the forks, and not in each of them


def train(rank: int, ranks: int, argv: list[str], port: int) -> int:
    """Be ``tools/train.py``, alone or as one of several processes that ``tools/launch.py`` would have started."""
    if ranks > 1:
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
        os.environ |= where | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        argv = [*argv, "--launcher", "pytorch"]
    return run_command("train", argv, prog="tools/train.py")


FUNCTIONS = {"train": train, "fault": faults.call_with_fault}


def serve() -> None:
    """Answer requests, one JSON object a line: with the process ids of what was started, or with exit codes."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a run prints must not come between the answers
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in request["wait"]]
        else:
            answer = [os.fork() or be(rank, **request) for rank in range(request["ranks"])]
        print(json.dumps(answer), file=out, flush=True)


def be(rank: int, function: str, ranks: int, output: str, arguments: dict[str, Any]) -> None:
    """Be one process: never returns. What it prints goes to ``output`` with ``.out`` and ``.err`` appended."""
    for number, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{output}{rank}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 1
    try:
        code = FUNCTIONS[function](rank, ranks, **arguments)
    except SystemExit as stop:  # argparse's
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
