"""``queue/NAME.json``: what became of an entry of a study when a queue last ran it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from openmix.engine.files import write_atomically, writing

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """How a queue's run of one entry ended, or that it goes on.

    Attributes:
        status: 'running', 'done', 'failed', 'stopped' (by a signal: to be continued), or 'held' (its work dir was
            another run's: to be tried again).
        attempts: processes that were started for this entry so far, by all queues.
        exit_code: of the last one, 128 + the number where a signal ended it; None while it runs.
        message: why it failed, or who held its work dir.
        where: host, process and slot.
        started: when the last process was started, with the offset from UTC.
        ended: when it ended; empty while it runs.
    """

    status: str
    attempts: int = 0
    exit_code: int | None = None
    message: str = ""
    where: str = ""
    started: str = ""
    ended: str = ""

    @property
    def reason(self) -> str:
        """Say why it failed, with the exit code: ``exit code 1: RuntimeError: boom``."""
        return self.message if self.exit_code is None else f"exit code {self.exit_code}: {self.message}"

    @classmethod
    def read(cls, path: Path) -> "Outcome | None":
        """Read an outcome; None where there is none, or a file that is none."""
        try:
            outcome = cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        numbers = type(outcome.attempts) is int and type(outcome.exit_code) in (int, type(None))
        words = (outcome.status, outcome.message, outcome.where, outcome.started, outcome.ended)
        return outcome if numbers and all(isinstance(word, str) for word in words) else None

    def write(self, path: Path) -> None:
        """Write it whole, in the place of the one before.

        Raises:
            WriteError: it cannot be written.
        """
        text = json.dumps(asdict(self), indent=1) + "\n"
        with writing(path):
            write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))
