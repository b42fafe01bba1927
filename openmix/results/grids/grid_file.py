"""Grid files: a study's base and axes, written down in Python as a config is."""

import re
from pathlib import Path
from typing import Any

from openmix.engine.config_files import read_config
from openmix.errors import UserError, did_you_mean

__all__ = ["is_grid_file", "read_grid"]

FIELDS: dict[str, tuple[Any, str]] = {
    "base": (str, "a config file"),
    "axes": (dict, "a dict of lists"),
    "exclude": (list | tuple, "a list of dicts"),
    "bases": (dict, "a dict of config files by method"),
}


def is_grid_file(path: str | Path) -> bool:
    """Return whether a file is a grid rather than a config: it names ``axes``, which no config does."""
    path = Path(path)
    if path.suffix != ".py" or not path.is_file():
        return False
    return re.search(r"^axes\s*=", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE) is not None


def read_grid(path: str | Path) -> dict[str, Any]:
    """Read a grid file; like any config in Python it is executed: read only what you trust.

    Returns:
        What it says of ``base``, ``axes``, ``exclude`` and ``bases``: arguments of
        :func:`openmix.results.grids.spec.grid_of`. Files in it are relative to it.

    Raises:
        UserError: the file cannot be read, or has other keys.
    """
    content = read_config(str(path)).to_dict()
    for key, value in content.items():
        if key not in FIELDS:
            raise UserError(f"{path}: a grid has no {key!r}{did_you_mean(key, FIELDS)}")
        kind, words = FIELDS[key]
        if not isinstance(value, kind):
            raise UserError(f"{path}: {key} must be {words}, got {value!r}")
    bases = content.get("bases", {})
    if wrong := [base for base in bases.values() if not isinstance(base, str)]:
        raise UserError(f"{path}: bases must be {FIELDS['bases'][1]}, got {wrong[0]!r}")
    folder = Path(path).parent
    files = {"base": folder / content["base"]} if "base" in content else {}
    return {**content, **files, "bases": {mode: folder / base for mode, base in bases.items()}}
