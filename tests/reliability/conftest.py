"""What the tests of reliability share: processes that are forked rather than started, to be killed or to fail."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent


class Started(NamedTuple):
    """Processes that run, and where they print to."""

    pids: list[int]
    output: Path

    def printed(self, rank: int = 0) -> tuple[str, str]:
        """Return what a process has printed, to stdout and to stderr."""
        out, err = (self.output.with_name(f"{self.output.name}{rank}.{suffix}") for suffix in ("out", "err"))
        return out.read_text(), err.read_text()


class Forks:
    """A process that has imported openmix, and forks others that call a function of ``forked.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = 0
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.server = subprocess.Popen(
            [sys.executable, str(HERE / "forked.py")], stdin=pipe, stdout=pipe, env=environment
        )

    def start(self, function: str, ranks: int = 1, **arguments: Any) -> Started:
        """Start processes that call a function."""
        self.calls += 1
        output = self.folder / f"{self.calls}-"
        request = {"function": function, "ranks": ranks, "output": str(output), "arguments": arguments}
        return Started(self._ask(request), output)

    def wait(self, started: Started) -> list[int]:
        """Wait for processes and return their exit codes, negative for a signal's."""
        return self._ask({"wait": started.pids})

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.server.stdin and self.server.stdout
        self.server.stdin.write(json.dumps(request).encode() + b"\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start_training(self, argv: Sequence[Any], ranks: int = 1) -> Started:
        """Start ``tools/train.py`` with these arguments, as so many processes."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        return self.start("train", ranks, argv=[str(argument) for argument in argv], port=port)

    def train(self, *argv: Any, ranks: int = 1) -> tuple[int, str, str]:
        """Train to the end and return the exit code of rank 0 and what it printed, to stdout and to stderr."""
        started = self.start_training(argv, ranks)
        return self.wait(started)[0], *started.printed()


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """See :class:`Forks`."""
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.server.kill()  # closing its pipes would do, unless a process that was forked meanwhile holds them open
    with forks.server:
        pass
