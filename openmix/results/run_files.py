"""Reading what runs leave behind, whatever has become of it: only files, so much of each, and nothing is executed."""

import ast
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from openmix.errors import UserError

__all__ = ["literal_config", "open_file", "read_json", "validation_records"]

LARGEST = 4 << 20  # bytes of run.json and of config.py, which have some thousands
LONGEST = 1 << 20  # bytes of a line of metrics.jsonl, which has some hundreds


def open_file(path: Path) -> BinaryIO:
    """Open a file that may turn out to be a pipe or a device, on which a reader would wait for ever.

    Raises:
        UserError: it is missing, cannot be read or is no file; the message does not repeat the folder.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise UserError(f"there is no {path.name}") from None
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path.name} is no file")
    return open(descriptor, "rb")


def _read(path: Path) -> str:
    with open_file(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"{path.name} has more than {LARGEST:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UserError(f"{path.name} is no text") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        UserError: there is none, or it is damaged.
    """
    text = _read(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path.name} is damaged: it holds no JSON object")
    return content


def literal_config(path: Path) -> dict[str, Any]:
    """Return a resolved config as a run writes it: names given to literals, with ``float("inf")`` and ``float("nan")``.

    Raises:
        UserError: there is none, it is damaged, or it is more than literals.
    """
    text = _read(path)
    try:
        return {name: _value(node) for name, node in _assignments(ast.parse(text))}
    except SyntaxError:
        reason = "it is not Python"
    except (MemoryError, RecursionError):
        reason = "its values are nested too deeply"
    except (ValueError, TypeError) as error:
        reason = str(error)
    raise UserError(f"{path.name} is damaged, or is not what a run wrote: {reason}")


def _assignments(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in module.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            raise ValueError(f"line {statement.lineno} is code")
        yield statement.targets[0].id, statement.value


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(k): _value(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
        (argument,) = node.args
        return float(ast.literal_eval(argument))
    raise ValueError(f"line {node.lineno} is code")


def validation_records(path: Path) -> tuple[tuple[dict[str, Any], ...], int]:
    """Return the validation records of ``metrics.jsonl``, and how many of its lines are damaged.

    Training records, nine lines in ten, are not parsed. A last line that was cut off, as a kill leaves it, counts for
    nothing.

    Raises:
        UserError: it cannot be read.
    """
    records, damaged = [], 0
    with open_file(path) as file:
        for line in iter(lambda: file.readline(LONGEST), b""):
            if not line.endswith(b"\n"):
                damaged += bool(_skip_line(file))
            elif not line.startswith(b"{") or not line.endswith(b"}\n"):
                damaged += line != b"\n"
            elif b'"val"' in line:
                record = _record(line)
                if record is None:
                    damaged += 1
                elif record.get("split") == "val":
                    records.append(record)
    return tuple(records), damaged


def _skip_line(file: BinaryIO) -> bool:
    """Go to the end of the line, and tell whether it has one."""
    while line := file.readline(LONGEST):
        if line.endswith(b"\n"):
            return True
    return False


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    return record if all(type(record.get(key)) is int for key in ("epoch", "step")) else None
