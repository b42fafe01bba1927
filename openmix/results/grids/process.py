"""The process of one run: it ends with the queue that started it, and keeps its claim if it does not."""

import contextlib
import ctypes
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["DATE", "HERE", "RunProcess", "crashed", "stopped"]

DATE = "%Y-%m-%dT%H:%M:%S%z"
HERE = socket.gethostname()
STOPPED = (75, 128 + signal.SIGTERM, 128 + signal.SIGUSR1)  # in its first seconds a run has no way to say 75
TAIL = 64 * 1024  # bytes of the log in which its error is looked for
LONGEST = 300  # characters of a message
ERROR = re.compile(r"error: |(\w+\.)*\w*(Error|Exception|Interrupt)\b")
OF_THIS_MACHINE = ("PORT", "NNODES", "NODE_RANK", "MASTER_ADDR")  # another run's, if they are set

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def stopped(code: int) -> bool:
    """Tell whether a run with this exit code was asked to stop, and is to be continued."""
    return code in STOPPED


def crashed(code: int) -> bool:
    """Tell whether an exit code is of an accident, which may not happen again: a kill, an exception."""
    return code not in (0, 2) and not stopped(code)


class RunProcess:
    """A program that is running, what it prints going to the end of a log.

    It has a session of its own, so that Ctrl-C on the terminal reaches the queue alone, which then lets it save. On
    Linux the system sends it SIGTERM when the queue is gone, however that ended.

    Args:
        command: to be run.
        environment: variables beside those of this process.
        log: a file, appended to.
        title: for the line that is printed above.
        claim: a descriptor that the process is to keep open.

    Raises:
        OSError: the log cannot be written, or no process can be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, title: str, claim: int
    ) -> None:
        self.log = log
        inherited = {key: value for key, value in os.environ.items() if key not in OF_THIS_MACHINE}
        queue = os.getpid()
        with open(log, "ab") as output:
            output.write(f"\n--- {time.strftime(DATE)} {title}: {shlex.join(command)}\n".encode())
            output.flush()
            self._from = output.tell()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**inherited, **environment},
                start_new_session=True, pass_fds=(claim,), preexec_fn=lambda: _end_with(queue),
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, 128 + the number where a signal ended it; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        code = code if code >= 0 else 128 - code
        if crashed(code):
            self._signal_group()  # what it had started would be in the way of the next attempt
        return code

    def stop(self) -> None:
        """Ask it to save and leave."""
        self._process.terminate()

    def kill(self) -> None:
        """End it and all that it has started, at once."""
        self._signal_group()

    def _signal_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def message(self, code: int) -> str:
        """Say why it failed: the last error in what it printed; where it printed none, that, and the last line."""
        try:
            with open(self.log, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._from, size - TAIL))
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        errors = [line for line in lines if ERROR.match(line)]
        line = (errors or lines or [""])[-1].removeprefix("error: ")
        said = "".join(c if c.isprintable() else " " for c in line[:LONGEST])
        ended = f"ended by {_signal_name(code)}" if code > 128 else "" if errors else "it told of no error"
        return "; ".join(filter(None, (ended, said if errors or not said else f"its last line: {said}")))


def _end_with(queue: int) -> None:
    """Have the system send this process SIGTERM when the queue ends. It runs between fork and exec: no imports."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != queue:  # it is gone already
            os._exit(128 + signal.SIGTERM)


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(code - 128).name
    except ValueError:
        return f"signal {code - 128}"
