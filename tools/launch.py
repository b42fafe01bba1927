#!/usr/bin/env python
"""Start NPROC copies of a program on this machine as one process group, and exit with their own exit code.

``torchrun`` reports 1 whatever its workers returned; here 2 (wrong input) and 75 (stopped, to be requeued) arrive. Stop
signals are passed on to the workers, which then have all the time they need to save.

    python tools/launch.py NPROC PROGRAM [ARGUMENT ...]

Environment: PORT (default: a free one; must be named for several nodes), NNODES, NODE_RANK, MASTER_ADDR.
"""

import os
import signal
import socket
import subprocess
import sys
import time

EXIT_USER_ERROR = 2
EXIT_STOPPED = 75
GRACE = 15  # seconds for the others to fail likewise, once one has; they first ask each other who is to blame


def main(argv: list[str]) -> int:
    """Start the workers, wait for them, and return 0 or the exit code that says why they failed."""
    nproc = int(argv[0])
    for name in ("NNODES", "NODE_RANK", "PORT"):
        if not os.environ.get(name, "0").isdigit():
            print(f"error: {name} must be a whole number, got {os.environ[name]!r}", file=sys.stderr)
            return EXIT_USER_ERROR
    nnodes, node_rank = int(os.environ.get("NNODES", "1")), int(os.environ.get("NODE_RANK", "0"))
    if nnodes > 1 and "PORT" not in os.environ:
        print("error: several nodes need to agree on a port: set PORT", file=sys.stderr)
        return EXIT_USER_ERROR
    common = {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("PORT") or str(free_port()),
        "WORLD_SIZE": str(nproc * nnodes),
        # without this, torch would tell of a peer that is gone in forty lines of C++ before the run does in one
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
        # without this every worker would use every core
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // nproc))),
    }
    workers: list[subprocess.Popen[bytes]] = []
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, lambda number, frame: pass_on(workers, number))
    for local_rank in range(nproc):
        ranks = {"LOCAL_RANK": str(local_rank), "RANK": str(node_rank * nproc + local_rank)}
        workers.append(subprocess.Popen([sys.executable, *argv[1:]], env=os.environ | common | ranks))
    return wait(workers)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pass_on(workers: list[subprocess.Popen[bytes]], number: int) -> None:
    """Send a signal to all workers that still run."""
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)


def wait(workers: list[subprocess.Popen[bytes]]) -> int:
    """Wait for all to end; once one fails, give the others a moment to fail likewise and then stop them."""
    while all(code in (None, 0) for code in (w.poll() for w in workers)):
        if all(w.poll() == 0 for w in workers):
            return 0
        time.sleep(0.05)
    for rank, worker in enumerate(workers):
        if (code := worker.poll()) is not None and code < 0:
            print(f"process {rank} was ended by {signal.Signals(-code).name}", file=sys.stderr, flush=True)
    deadline = time.monotonic() + GRACE
    saving = any(w.poll() == EXIT_STOPPED for w in workers)  # the others will leave as soon as rank 0 has saved
    while any(w.poll() is None for w in workers) and (saving or time.monotonic() < deadline):
        time.sleep(0.05)
    codes = [code for w in workers if (code := w.poll()) not in (None, 0)]
    pass_on(workers, signal.SIGKILL)
    for worker in workers:
        worker.wait()
    return exit_code(codes)


def exit_code(codes: list[int]) -> int:
    """Return the code of the worker that says most: one that lost its peer fails too, with 1."""
    order = {EXIT_USER_ERROR: 0, EXIT_STOPPED: 1}
    code = min(codes, key=lambda code: order.get(code, 2 if code < 0 else 3))
    return code if code > 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
