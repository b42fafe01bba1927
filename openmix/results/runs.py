"""Finished and unfinished runs as tables read them: ``run.json``, ``config.py`` and ``metrics.jsonl`` of a work dir."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Run", "Unreadable"]


@dataclass(frozen=True)
class Run:
    """What one work dir holds.

    Attributes:
        folder: the work dir.
        record: ``run.json``.
        config: the resolved config, read as data (nothing is executed).
        validations: the validation records, in order.
        damaged_lines: how many lines of ``metrics.jsonl`` are no records, but for a last one that a kill cut off.
    """

    folder: Path
    record: Mapping[str, Any]
    config: Mapping[str, Any]
    validations: tuple[Mapping[str, Any], ...]
    damaged_lines: int = 0

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.record["seed"]


@dataclass(frozen=True)
class Unreadable:
    """A work dir that cannot be read as a run.

    Attributes:
        folder: the work dir.
        reason: what is wrong with it.
    """

    folder: Path
    reason: str
