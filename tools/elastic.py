#!/usr/bin/env python
"""Start NPROC copies of a program on each of NNODES machines, and start them all again when one is lost.

What 2 (wrong input) and 75 (stopped after saving) say is final, on every node, and is this program's own exit code. It
adds ``--resume``: whoever is started again goes on from the work dir's newest good checkpoint.

    python tools/elastic.py NPROC PROGRAM [ARGUMENT ...]

Environment: NNODES (default 1), MASTER_ADDR and PORT (where the agents meet: an address of one of the nodes; several
need both), MAX_RESTARTS (default 3), RDZV_TIMEOUT (seconds to wait for all nodes, default 600), RDZV_ID (default
``openmix``). An empty variable counts as unset.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import launch
from elastic_agent import FINAL, Agent, say
from launch import variable
from torch.distributed import DistNetworkError, Store, TCPStore
from torch.distributed.elastic.agent.server import WorkerSpec
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousTimeoutError,
)
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout

from openmix.engine.network import address_towards, is_own_address

LEFT = "openmix/left"


def main(argv: list[str]) -> int:
    """Run this node's part, and return the workers' exit code."""
    if problem := wrong_input(argv):
        say(f"error: {problem}")
        return launch.EXIT_USER_ERROR
    nproc, nnodes, host = int(argv[0]), int(variable("NNODES", "1")), variable("MASTER_ADDR", "127.0.0.1")
    port, patience = int(variable("PORT", "0")), max(1, int(variable("RDZV_TIMEOUT", "600")))
    # torch waits for the keeper in C++, where no handler of Python is heard: until then signals do what they always do
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        store, hosts = shared_store(host, port, patience)
    except RuntimeError as error:
        say(f"error: nobody keeps the rendezvous at {host}:{port}: {str(error).splitlines()[0]}")
        return 1
    spec = WorkerSpec(
        role="openmix",
        local_world_size=nproc,
        entrypoint=argv[1],
        rdzv_handler=rendezvous(store, nnodes, address_towards(host, port or 1), patience),
        max_restarts=int(variable("MAX_RESTARTS", "3")),
    )
    agent = Agent(spec, store, [*argv[1:], "--resume"], patience)
    for number in launch.STOP_SIGNALS:
        signal.signal(number, lambda number, frame: agent.stop(number))
    with farewell(agent, nnodes if hosts else 0):
        return run(agent, f"{nnodes} nodes at {host}:{port}")


def wrong_input(argv: list[str]) -> str:
    """Return what is wrong with the arguments or the environment."""
    if ":" in os.environ.get("NNODES", ""):
        nnodes = os.environ["NNODES"]
        return f"NNODES must be one number: a run's batch is that of all its processes, and stays; got {nnodes!r}"
    resumed = argv[argv.index("--resume") + 1 :] if "--resume" in argv else []
    if (resumed and not resumed[0].startswith("-")) or any(a.startswith("--resume=") for a in argv):
        return "--rdzv resumes the work dir's newest checkpoint; take --resume CHECKPOINT without --rdzv, or load_from"
    numbers = launch.wrong_number("NNODES", "PORT", "MAX_RESTARTS", "RDZV_TIMEOUT")
    return numbers or launch.missing("MASTER_ADDR", "PORT")


def shared_store(host: str, port: int, patience: float) -> tuple[TCPStore, bool]:
    """Return the store at which the agents meet, and whether it is this process that keeps it.

    Of several agents on the node that has the address, the first one does.
    """
    timeout = timedelta(seconds=patience)
    with contextlib.suppress(RuntimeError):
        if is_own_address(host):
            return TCPStore(host, port, is_master=True, timeout=timeout, wait_for_workers=False), True
    return TCPStore(host, port, is_master=False, timeout=timeout), False


def rendezvous(store: Store, nnodes: int, address: str | None, patience: float) -> DynamicRendezvousHandler:
    """Return torch's meeting of exactly ``nnodes`` agents, whose names need not resolve to anything."""
    # every round then has a store of its own, kept by its own first process: the node that had it may be gone
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    run_id = variable("RDZV_ID", "openmix")
    timeout = RendezvousTimeout(join=timedelta(seconds=patience), last_call=timedelta(seconds=1))
    backend = C10dRendezvousBackend(store, run_id)
    return DynamicRendezvousHandler.from_backend(run_id, store, backend, nnodes, nnodes, address, timeout)


def run(agent: Agent, where: str) -> int:
    """Run the agent to its end and return the exit code."""
    try:
        agent.code = outcome(agent, where)
    except (RendezvousConnectionError, DistNetworkError):  # torch's calls of the store, and the agent's own
        agent.code = agent.code if agent.code in FINAL else 1
        say(f"error: the agent that keeps the rendezvous of {where} is gone")
    return agent.code


def outcome(agent: Agent, where: str) -> int:
    """Return the exit code of a run whose rendezvous is kept to the end."""
    try:
        result = agent.run()
    except RendezvousClosedError:
        result = None
    except RendezvousTimeoutError:
        say(f"error: {where} did not come together within {agent.patience:g} s (RDZV_TIMEOUT)")
        return 1
    if result is None:  # torch's word for: there were as many nodes without this one
        code = agent.verdict() or 1
        say(f"error: {where} go on or have ended without this one (exit code {code})")
        return code
    return agent.code if result.is_failed() else 0


@contextlib.contextmanager
def farewell(agent: Agent, others: int) -> Iterator[None]:
    """Tell the other agents that this one is leaving and why; the one with the store lets them all hear of it first."""
    try:
        yield
    finally:
        agent.leaving = True
        with contextlib.suppress(Exception):  # the store may be gone with its keeper
            if agent.code:
                agent.decide()
            agent.get_worker_group().spec.rdzv_handler.shutdown()
            agent.store.add(LEFT, 1)
            deadline = time.monotonic() + 2 * launch.GRACE
            while agent.store.add(LEFT, 0) < others and time.monotonic() < deadline:
                time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
