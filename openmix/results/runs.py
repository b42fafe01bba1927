"""Finished and unfinished runs as tables read them: ``run.json``, ``config.py`` and ``metrics.jsonl`` of a work dir."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """What one work dir holds.

    Attributes:
        folder: the work dir.
        record: ``run.json``.
        config: the resolved config, read as data (nothing is executed).
        validations: the validation records, in order.
    """

    folder: Path
    record: Mapping[str, Any]
    config: Mapping[str, Any]
    validations: tuple[Mapping[str, Any], ...]
