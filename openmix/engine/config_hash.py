"""What identifies a config: a hash of what it computes, wherever it is run. Imports nothing that takes time."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["NOT_HASHED", "config_hash", "hashed", "plain_values", "study_hash", "without_seed"]

# where a run happens and how it was started: what these say does not change its numbers
NOT_HASHED = ("work_dir", "resume", "load_from", "vis_backends")


def config_hash(cfg: Mapping[str, Any]) -> str:
    """Return 16 hex digits that identify what a config computes, wherever it is run."""
    content = {key: plain_values(value) for key, value in hashed(cfg).items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def study_hash(cfg: Mapping[str, Any]) -> str:
    """Return 16 hex digits that a config has in common with the same config of another seed, and no other.

    >>> seeds = [{"a": 1}, {"a": 1, "randomness": {"seed": 3}}, {"a": 2}]
    >>> [study_hash(cfg) == study_hash(seeds[0]) for cfg in seeds]
    [True, True, False]
    """
    return config_hash(without_seed(cfg))


def hashed(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config that its numbers depend on."""
    return {key: value for key, value in cfg.items() if key not in NOT_HASHED}


def without_seed(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as that of any seed: one that says nothing of randomness is that of seed 0."""
    others = {key: value for key, value in cfg.items() if key != "randomness"}
    randomness = cfg.get("randomness")
    rest = {k: v for k, v in randomness.items() if k != "seed"} if isinstance(randomness, Mapping) else {}
    return {**others, "randomness": rest} if rest else others


def plain_values(value: Any) -> Any:
    """Return a config's value as builtin dicts and lists."""
    if isinstance(value, Mapping):
        return {k: plain_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
