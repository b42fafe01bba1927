"""What a run's weights came from where it did not begin with random ones, for its record."""

from pathlib import Path
from typing import Any

from openmix.engine.checkpoint import load_checkpoint
from openmix.engine.config_hash import study_hash
from openmix.engine.files import sha256
from openmix.engine.frozen import config_values
from openmix.errors import UserError

__all__ = ["origin_of"]

DIGITS = 8


def origin_of(path: str | Path) -> str:
    """Say which weights a file holds, in a word and 8 hex digits.

    Of an openmix checkpoint it is the task and its config's study hash, which the seeds of a study share: so
    fine-tuning from each of them is one group in a table, and another group than fine-tuning from another task. Of
    another file it is its name and its SHA-256.
    """
    path = Path(path)
    try:
        config: dict[str, Any] = config_values(load_checkpoint(path).get("config", ""))
        return f"{config['model']['type']} {study_hash(config)[:DIGITS]}"
    except (UserError, KeyError, TypeError):  # another program's, or of a config that is not data alone
        return f"{path.name} {sha256(path)[:DIGITS]}"
