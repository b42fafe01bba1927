"""One node's part of an elastic run: torch's agent, with the processes of ``launch.py`` and their exit codes."""

import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import launch
from torch.distributed import Store
from torch.distributed.elastic.agent.server import RunResult, SimpleElasticAgent, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.rendezvous import RendezvousTimeoutError

FINAL = (launch.EXIT_USER_ERROR, launch.EXIT_STOPPED, launch.EXIT_INTERRUPTED)
VERDICT, DONE = "openmix/verdict", "openmix/done"
NEWS = 2.0  # seconds for another node to say why it ended, where this node's workers merely lost it


class Agent(SimpleElasticAgent):
    """Keeps this node's workers running, together with the agents of the other nodes.

    Args:
        spec: how many workers, and where the agents meet.
        store: what all agents share for as long as any of them may ask.
        command: the program and its arguments.
        patience: seconds to wait for the other nodes.

    Attributes:
        code: the exit code that says most of what this node's workers, or those of another, have ended with.
        leaving: whether that is settled, whatever signals come now.
    """

    def __init__(self, spec: WorkerSpec, store: Store, command: Sequence[str], patience: float) -> None:
        super().__init__(spec)
        self.store = store
        self.command = command
        self.patience = patience
        self.workers: list[launch.Worker] = []
        self.code = 0
        self.stopping = self.leaving = False
        self._done_since: float | None = None

    def stop(self, number: int) -> None:
        """Pass a signal on to the workers; where there are none at present, leave at once."""
        self.stopping = True
        if any(worker.poll() is None for worker in self.workers):
            launch.pass_on(self.workers, number)
        elif not self.leaving:
            self.code = launch.EXIT_INTERRUPTED if number == signal.SIGINT else launch.EXIT_STOPPED
            raise SystemExit(self.code)

    def verdict(self) -> int | None:
        """Return the exit code for which another node, or this one, has ended the run."""
        return int(self.store.get(VERDICT)) if self.store.check([VERDICT]) else None

    def decide(self) -> None:
        """Let this agent's exit code end the run on all nodes, unless another's has."""
        if self.verdict() is None:
            self.store.set(VERDICT, str(self.code))

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        spec, self._done_since = worker_group.spec, None
        common = {
            "MASTER_ADDR": str(worker_group.master_addr),
            "MASTER_PORT": str(worker_group.master_port),
            "TORCHELASTIC_RESTART_COUNT": str(spec.max_restarts - self._remaining_restarts),
            "TORCHELASTIC_MAX_RESTARTS": str(spec.max_restarts),
            "TORCHELASTIC_RUN_ID": spec.rdzv_handler.get_run_id(),
        }
        self.workers = []
        for worker in worker_group.workers:
            ranks = {
                "RANK": str(worker.global_rank),
                "LOCAL_RANK": str(worker.local_rank),
                "WORLD_SIZE": str(worker.world_size),
            }
            # an agent that is killed takes its workers along: those in their place are to find the work dir free
            process = launch.start(self.command, spec.local_world_size, common | ranks, signal.SIGKILL)
            self.workers.append(process)
        return {local_rank: process.pid for local_rank, process in enumerate(self.workers)}

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        codes = [worker.poll() for worker in self.workers]
        if all(code == 0 for code in codes):
            return RunResult(self._state_of_success(worker_group), dict.fromkeys(self._ranks()))
        if all(code in (None, 0) for code in codes):
            return RunResult(WorkerState.HEALTHY)
        self.code = launch.wait(self.workers, worker_group.workers[0].global_rank)
        told = self._hear() if self.code not in FINAL else None
        if told is not None:
            self.code = told
        if self.code in FINAL or self.stopping or self._remaining_restarts == 0:
            self._remaining_restarts = 0
            self.decide()
        else:
            most = worker_group.spec.max_restarts
            say(f"restart {most - self._remaining_restarts + 1} of at most {most}: all processes begin again")
        return RunResult(WorkerState.FAILED)

    def _ranks(self) -> list[int]:
        return [worker.global_rank for worker in self._worker_group.workers]

    def _state_of_success(self, worker_group: WorkerGroup) -> WorkerState:
        """Count this node as done, and wait for the others: should one lose a worker now, this node is needed again."""
        if (told := self.verdict()) is not None:
            self.code, self._remaining_restarts = told, 0
            return WorkerState.FAILED
        if self._done_since is None:
            self._done_since = time.monotonic()
            self._store.add(DONE, 1)
        elif time.monotonic() > self._done_since + self.patience:
            raise RendezvousTimeoutError
        done = self._store.add(DONE, 0) == worker_group.group_world_size
        return WorkerState.SUCCEEDED if done else WorkerState.HEALTHY

    def _hear(self) -> int | None:
        deadline = time.monotonic() + NEWS
        while (told := self.verdict()) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return told

    def _stop_workers(self, worker_group: WorkerGroup, is_restart: bool = False) -> None:
        """End what still runs of a group that has lost a worker, after a moment to find out and to say so."""
        deadline = time.monotonic() + launch.GRACE
        while any(worker.poll() is None for worker in self.workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        launch.end(self.workers)

    def _shutdown(
        self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 30, is_restart: bool = False
    ) -> None:
        """End the workers that an error of this agent's own has left."""
        self._stop_workers(self._worker_group)

    def _exit_barrier(self) -> None:
        """All nodes are done by now, see :meth:`_state_of_success`."""


def say(text: str) -> None:
    """Print a line to stderr as a whole: other processes print theirs at the same time."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
