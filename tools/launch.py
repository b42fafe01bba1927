#!/usr/bin/env python
"""Start NPROC copies of a program on this machine as one process group, and exit with their own exit code.

``torchrun`` reports 1 whatever its workers returned; here 2 (wrong input) and 75 (stopped, to be requeued) arrive. Stop
signals are passed on to the workers, which then have all the time they need to save.

    python tools/launch.py NPROC PROGRAM [ARGUMENT ...]

Environment: NNODES (default 1), PORT (default: a free one), NODE_RANK and MASTER_ADDR; several nodes need all of them.
An empty variable counts as unset.
``tools/elastic.py`` starts the workers again when one is lost.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

EXIT_USER_ERROR = 2
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
PR_SET_PDEATHSIG = 1  # Linux: a signal for when the parent is gone
# what counts from 1, and up to what
BOUNDS = {"NNODES": (1, sys.maxsize), "PORT": (1, 65535)}
# without these each of several nodes would take itself for the first, or wait for the others at an address of its own
OF_SEVERAL_NODES = {
    "NODE_RANK": "which node this is, from 0",
    "MASTER_ADDR": "the first node's address",
    "PORT": "a free one of the first node, the same on all",
}
GRACE = 15  # seconds for the others to fail likewise, once one has; they first ask each other who is to blame

Worker = subprocess.Popen[bytes]


def main(argv: list[str]) -> int:
    """Start the workers, wait for them, and return 0 or the exit code that says why they failed."""
    nproc = int(argv[0])
    if problem := wrong_number("NNODES", "NODE_RANK", "PORT") or missing(*OF_SEVERAL_NODES):
        print(f"error: {problem}", file=sys.stderr)
        return EXIT_USER_ERROR
    nnodes, node_rank = int(variable("NNODES", "1")), int(variable("NODE_RANK", "0"))
    if node_rank >= nnodes:
        print(f"error: NODE_RANK counts from 0 to NNODES - 1, got {node_rank} of {nnodes}", file=sys.stderr)
        return EXIT_USER_ERROR
    common = {
        "MASTER_ADDR": variable("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": variable("PORT") or str(free_port()),
        "WORLD_SIZE": str(nproc * nnodes),
    }
    workers: list[Worker] = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, frame: pass_on(workers, number))
    first = node_rank * nproc
    for local_rank in range(nproc):
        ranks = {"LOCAL_RANK": str(local_rank), "RANK": str(first + local_rank)}
        workers.append(start(argv[1:], nproc, common | ranks))
    return wait(workers, first)


def variable(name: str, default: str = "") -> str:
    """Return a variable of the environment; an empty one counts as unset."""
    return os.environ.get(name) or default


def wrong_number(*names: str) -> str:
    """Return which of some variables is no whole number, or too small or large; nothing if all are right."""
    for name in names:
        low, high = BOUNDS.get(name, (0, sys.maxsize))
        text = variable(name, str(low))
        if not (text.isdecimal() and low <= int(text) <= high):
            upwards = "up" if high == sys.maxsize else f"to {high}"
            return f"{name} must be a whole number from {low} {upwards}, got {text!r}"
    return ""


def missing(*names: str) -> str:
    """Return which variables several nodes lack; nothing if all are set, or there is one node."""
    unset = [f"{name} ({OF_SEVERAL_NODES[name]})" for name in names if not variable(name)]
    nnodes = variable("NNODES", "1")
    return f"NNODES={nnodes} needs also {', '.join(unset)}" if unset and int(nnodes) > 1 else ""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command: Sequence[str], nproc: int, variables: Mapping[str, str], orphaned: int = signal.SIGTERM) -> Worker:
    """Start a worker.

    Args:
        command: a Python program and its arguments.
        nproc: how many share this machine.
        variables: what tells it its place among all.
        orphaned: the signal that it gets when this process is killed.
    """
    defaults = {
        # without this, torch would tell of a peer that is gone in forty lines of C++ before the run does in one
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        # without this every worker would use every core
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // nproc)),
    }
    environment = defaults | os.environ | variables
    return subprocess.Popen([sys.executable, *command], env=environment, preexec_fn=with_parent(orphaned))


def with_parent(number: int) -> Callable[[], object] | None:
    """Return what makes a new process get a signal when its parent ends; nothing where the system has no such thing."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # now, as little may be done between fork and exec
    return lambda: libc.prctl(PR_SET_PDEATHSIG, number)


def pass_on(workers: Sequence[Worker], number: int) -> None:
    """Send a signal to all workers that still run."""
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)


def wait(workers: Sequence[Worker], first_rank: int = 0) -> int:
    """Wait for all to end; once one fails, give the others a moment to fail likewise and then stop them.

    Args:
        workers: the processes of this node.
        first_rank: the number of the first among the processes of all nodes.
    """
    while all(code in (None, 0) for code in (w.poll() for w in workers)):
        if all(w.poll() == 0 for w in workers):
            return 0
        time.sleep(0.05)
    for rank, worker in enumerate(workers, first_rank):
        if (code := worker.poll()) is not None and code < 0:
            print(f"process {rank} was ended by {signal.Signals(-code).name}", file=sys.stderr, flush=True)
    deadline = time.monotonic() + GRACE
    saving = any(w.poll() == EXIT_STOPPED for w in workers)  # the others will leave as soon as rank 0 has saved
    while any(w.poll() is None for w in workers) and (saving or time.monotonic() < deadline):
        time.sleep(0.05)
    codes = [code for w in workers if (code := w.poll()) not in (None, 0)]
    end(workers)
    return exit_code(codes)


def end(workers: Sequence[Worker]) -> None:
    """End those that still run at once."""
    pass_on(workers, signal.SIGKILL)
    for worker in workers:
        worker.wait()


def exit_code(codes: list[int]) -> int:
    """Return the code of the worker that says most: one that lost its peer fails too, with 1."""
    order = {EXIT_USER_ERROR: 0, EXIT_STOPPED: 1, EXIT_INTERRUPTED: 2}
    code = min(codes, key=lambda code: order.get(code, 3 if code < 0 else 4))
    return code if code > 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
