"""Values as a person would write them in a config file."""

import json
import keyword
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["spell", "spell_config", "spell_short"]

WIDTH = 120


def spell_config(docstring: str, cfg: Mapping[str, Any]) -> str:
    """Return a config file's text.

    Args:
        docstring: what stands above it all.
        cfg: dicts, lists and plain values by top-level key.
    """
    lines = [f"{key} = {spell(value, len(key) + 3)}" for key, value in cfg.items()]
    return f'"""{docstring}"""\n\n' + "\n".join(lines) + "\n"


def spell(value: Any, used: int = 0, indent: int = 0) -> str:
    """Return Python for a value, a dict as ``dict(...)``, broken into lines where it is too long for one.

    >>> spell({"type": "SGD", "lr": 0.1, "betas": (0.9, 0.99)})
    'dict(type="SGD", lr=0.1, betas=[0.9, 0.99])'

    Args:
        value: of dicts, lists, tuples (which become lists) and plain values.
        used: characters before it on its line.
        indent: of that line.
    """
    flat = _flat(value)
    if used + len(flat) <= WIDTH or not isinstance(value, Mapping | list | tuple) or not value:
        return flat
    inner = indent + 4
    opening, items, closing = _parts(value)
    lines = [f"{' ' * inner}{name}{spell(v, inner + len(name) + 1, inner)},\n" for name, v in items]
    return f"{opening}\n{''.join(lines)}{' ' * indent}{closing}"


def spell_short(value: Any, width: int = 60) -> str:
    """Return a value on one line, cut off where it is long."""
    flat = _flat(value)
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def _flat(value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        opening, items, closing = _parts(value)
        return opening + ", ".join(name + _flat(v) for name, v in items) + closing
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Return how a container opens, its items with what stands before each, and how it closes."""
    if not isinstance(value, Mapping):
        return "[", [("", item) for item in value], "]"
    if all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value):
        return "dict(", [(f"{key}=", item) for key, item in value.items()], ")"
    return "{", [(f"{key!r}: ", item) for key, item in value.items()], "}"
