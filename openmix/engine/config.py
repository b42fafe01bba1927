"""A config file's way to something that can be trusted: load, override, check."""

import ast
import json
import os
import pprint
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from openmix.engine.check import find_problems
from openmix.engine.config_files import files_of, read_config
from openmix.engine.config_hash import plain_values
from openmix.engine.plain_yaml import PlainLoader
from openmix.engine.trial import check_build
from openmix.errors import UserError

__all__ = ["config_text", "load_config"]


def load_config(path: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Load a config file with its ``_base_`` files, apply overrides, check every key, and try to build every part.

    A config file in Python is executed: load only what you trust. One in YAML or JSON is data.
    Data sets are not touched.

    Args:
        path: the file.
        overrides: values by dotted key, as ``--cfg-options`` gives them.

    Raises:
        UserError: the file cannot be loaded, or says something that nothing understands; the message names the file
            and the key, and the nearest known one.
    """
    cfg = read_config(path)
    overrides = dict(overrides or {})
    try:
        cfg.merge_from_dict(overrides)
    except Exception as error:  # mmengine merges what has no parts, too, such as the numbers of a list
        raise UserError(f"--cfg-options do not fit {path}: {type(error).__name__}: {error}") from error
    problems = find_problems(cfg) or check_build(cfg)
    if problems:
        files = files_of(path)
        raise UserError("\n".join(f"{_origin(key, files, overrides)}: {key}: {what}" for key, what in problems))
    if not cfg.get("work_dir"):
        cfg.work_dir = os.path.join("work_dirs", Path(path).stem)
    if not cfg.work_dir.isprintable():  # it goes into checkpoints and records, which are UTF-8
        raise UserError(f"work_dir: a name of printable characters, not {cfg.work_dir!r}")
    return cfg


def _origin(key: str, files: list[str], overrides: Mapping[str, Any]) -> str:
    """Return where a key was written: the command line, or the file that spells out most of it, the nearest first."""
    if any(key == o or key.startswith(o + ".") for o in overrides):
        return "--cfg-options"
    file = max(files, key=lambda file: _depth_written(file, key))
    scope = key.rpartition(".")[0] or key
    return f"{file} with --cfg-options" if any(o.startswith(scope + ".") for o in overrides) else file


def _depth_written(file: str, key: str) -> int:
    """Return how many parts of a dotted key a config file spells out: ``a = dict(b=[dict(c=1)])`` has a.b.0.c whole."""
    text = Path(file).read_text(encoding="utf-8")
    # JSON is YAML, and both hold data alone: their values are Python's literals
    if not file.endswith(".py"):
        text = f"_ = {json.loads(text) if file.endswith('.json') else yaml.load(text, PlainLoader)!r}"
    tree = ast.parse(text)
    parts, entries = key.split("."), _entries(tree if file.endswith(".py") else _entries(tree)["_"])
    for depth, part in enumerate(parts):
        if "_delete_" in entries:  # it takes nothing over from its bases
            break
        if part not in entries:
            return depth
        entries = _entries(entries[part])
    return len(parts)


def _entries(node: ast.AST) -> dict[str, ast.AST]:
    """Return what a module, a dict or a list in the source of a config holds, by name or number."""
    if isinstance(node, ast.Module):
        named = [(target, n.value) for n in node.body if isinstance(n, ast.Assign) for target in n.targets]
        return {target.id: value for target, value in named if isinstance(target, ast.Name)}
    if isinstance(node, ast.Call):
        return {k.arg: k.value for k in node.keywords if k.arg}
    if isinstance(node, ast.Dict):
        return {k.value: v for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)}
    return {str(i): e for i, e in enumerate(node.elts)} if isinstance(node, ast.List | ast.Tuple) else {}


def config_text(cfg: Mapping[str, Any]) -> str:
    """Return a config as the text of a config file that needs no other."""
    values = {k: plain_values(v) for k, v in cfg.items()}
    text = "".join(f"{k} = {pprint.pformat(v, width=110, sort_dicts=False)}\n" for k, v in values.items())
    # the two numbers that Python cannot read back as it spells them
    return re.sub(r"(?<![\w'\".])(inf|nan)(?![\w'\"])", r'float("\1")', text)
