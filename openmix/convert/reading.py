"""OpenMixup's config files as plain values."""

from typing import Any

from openmix.engine.config_files import read_config
from openmix.errors import UserError

__all__ = ["read_old_config"]

NEEDED = ("model", "data", "optimizer")


def read_old_config(path: str) -> dict[str, Any]:
    """Read an OpenMixup config with its ``_base_`` files: Python, which is executed, JSON or YAML, which are not.

    Raises:
        UserError: it cannot be read, or is no config of OpenMixup.
    """
    # what it would import are OpenMixup's modules, of which nothing is needed to read it
    old = read_config(path, import_modules=False).to_dict()
    if "train_dataloader" in old:
        raise UserError(f"{path} is a config of openmix already: it has a train_dataloader")
    if missing := [key for key in NEEDED if not isinstance(old.get(key), dict)]:
        raise UserError(f"{path} is no training config of OpenMixup: it has no {', '.join(missing)}")
    return old
