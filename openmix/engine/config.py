"""A config file's way to something that can be trusted: load, override, check."""

import hashlib
import json
import os
import pprint
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from openmix.engine.check import Problem, find_problems
from openmix.errors import UserError

__all__ = ["check_config", "config_hash", "config_text", "load_config"]

# where a run happens and how it was started: what these say does not change its numbers
NOT_HASHED = ("work_dir", "resume", "load_from", "vis_backends")


def load_config(path: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Load a config file with its ``_base_`` files, apply overrides, and check every key.

    A config file is Python and is executed: load only what you trust.

    Args:
        path: the file.
        overrides: values by dotted key, as ``--cfg-options`` gives them.

    Raises:
        UserError: the file cannot be loaded, or says something that nothing understands; the message names the file
            and the key, and the nearest known one.
    """
    if not os.path.isfile(path):
        raise UserError(f"no config file {path}")
    try:
        cfg = Config.fromfile(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: a file that it is based on is missing: {error}") from error
    except SyntaxError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # the file is a program: it may fail in any way
        raise UserError(f"{path} failed while it was read: {type(error).__name__}: {error}") from error
    overrides = dict(overrides or {})
    try:
        cfg.merge_from_dict(overrides)
    except (KeyError, TypeError, AssertionError, IndexError, ValueError) as error:
        raise UserError(f"--cfg-options do not fit {path}: {error}") from error
    check_config(cfg, path, overrides)
    if cfg.get("work_dir") is None:
        cfg.work_dir = os.path.join("work_dirs", Path(path).stem)
    return cfg


def check_config(cfg: Mapping[str, Any], path: str, overrides: Mapping[str, Any] | None = None) -> None:
    """Raise UserError listing every key that is misspelt, missing or of the wrong type."""
    problems = find_problems(cfg)
    if problems:
        raise UserError("\n".join(f"{_origin(p, path, overrides or {})}: {p[0]}: {p[1]}" for p in problems))


def _origin(problem: Problem, path: str, overrides: Mapping[str, Any]) -> str:
    """Return where a key was written: the command line, the file or one of those that it is based on."""
    key = problem[0]
    if any(key == o or key.startswith(o + ".") or o.startswith(key + ".") for o in overrides):
        return "--cfg-options"
    top, *rest = [part for part in key.split(".") if not part.isdigit()]
    section = rf"^{re.escape(top)}\s*="
    written = rf"""\b{re.escape(rest[-1])}\s*=|['"]{re.escape(rest[-1])}['"]\s*:""" if rest else section
    holds_section = [file for file in _files(path) if re.search(section, Path(file).read_text(), re.MULTILINE)]
    holds_key = [file for file in holds_section if re.search(written, Path(file).read_text(), re.MULTILINE)]
    return [*holds_key, *holds_section, path][0]


def _files(path: str) -> list[str]:
    """Return a config file and all that it is based on."""
    bases = Config._get_base_files(path)
    here = Path(path).parent
    return [path, *(f for base in bases for f in _files(os.path.relpath(here / base)))]


def _plain(value: Any) -> Any:
    """Return a config's value as builtin dicts and lists."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def config_text(cfg: Mapping[str, Any]) -> str:
    """Return a config as the text of a config file that needs no other."""
    values = {k: _plain(v) for k, v in cfg.items()}
    return "".join(f"{k} = {pprint.pformat(v, width=110, sort_dicts=False)}\n" for k, v in values.items())


def config_hash(cfg: Mapping[str, Any]) -> str:
    """Return 16 hex digits that identify what a config computes, wherever it is run."""
    content = {k: _plain(v) for k, v in cfg.items() if k not in NOT_HASHED}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
