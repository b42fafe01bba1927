"""What a resumed run may differ in from the run before it, and what is said of it. The rules: docs/reliability.md."""

import operator
import re
from collections.abc import Mapping
from typing import Any

import torch

from openmix.data.loaders import Loader
from openmix.data.timeline import Timeline
from openmix.engine.config_hash import NOT_HASHED
from openmix.engine.distributed import World
from openmix.engine.records import device_name, git_commit, versions
from openmix.errors import UserError

__all__ = ["check_data", "check_timeline", "circumstances", "what_differs"]


def circumstances(world: World, accumulate: int, loader: Loader) -> dict[str, Any]:
    """Return what a checkpoint says of how it came about, besides its config.

    Args:
        world: the processes that train together.
        accumulate: micro-batches of a step and process.
        loader: of the training set.
    """
    fingerprint = getattr(loader, "fingerprint", None)
    batch_size = getattr(loader, "batch_size", None)
    return {
        "data": fingerprint() if fingerprint is not None else None,
        "processes": world.size,
        "accumulate": accumulate,
        "batch_size": batch_size,
        "code": {"commit": git_commit() or "unknown", **versions()},
        "device": device_name(world),
        "threads": torch.get_num_threads(),
    }


def check_timeline(state: Mapping[str, Any], timeline: Timeline) -> None:
    """Raise UserError unless the epochs that the checkpoint's run has begun are as long as this run's."""
    try:
        phases = ((operator.index(first), operator.index(steps)) for first, steps in state["timeline"])
        theirs = Timeline(tuple(phases))
        step = operator.index(state["step"])
        begun = [theirs.until(step), timeline.until(step)]
    except (TypeError, ValueError, StopIteration) as error:
        raise UserError(f"the checkpoint is damaged: its timeline is {state['timeline']!r}") from error
    if begun[0] != begun[1]:
        raise UserError(
            f"the checkpoint's epochs have {theirs}, this run's {timeline}: resume with its data set and its "
            "total batch (batch_size x processes x accumulation)"
        )


def check_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise UserError unless a run has the data set and the total batch of the checkpoint that it continues.

    Args:
        before: the checkpoint's :func:`circumstances`.
        now: this run's.
    """
    if before["data"] != now["data"] and None not in (before["data"], now["data"]):
        raise UserError(
            f"the checkpoint was trained on {before['data']}, this run's training set is {now['data']}: resume with "
            "the same data, or begin anew from its weights with load_from"
        )
    sizes = [_images_per_step(one) for one in (before, now)]
    if None not in sizes and sizes[0] != sizes[1]:
        raise UserError(
            f"the checkpoint was trained with {sizes[0]} images a step, this run has {sizes[1]} "
            "(batch_size x processes x accumulation): resume with the same number"
        )


def _images_per_step(one: Mapping[str, Any]) -> int | None:
    return None if one["batch_size"] is None else one["batch_size"] * one["processes"] * one["accumulate"]


def what_differs(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a warning for each way in which a run that may go on is not what the one before it would have been.

    Args:
        before: the checkpoint's ``config``, its text, and ``circumstances``.
        now: this run's.

    Raises:
        UserError: what the checkpoint says there is damaged.
    """
    warnings = _other_config(before["config"], now["config"]) if "config" in before else []
    if "circumstances" not in before:
        return [*warnings, "the checkpoint does not say what data and code it comes from: they were not compared"]
    then, today = before["circumstances"], now["circumstances"]
    try:
        return [*warnings, *_other_shards(then, today), *_other_code(then, today)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the checkpoint is damaged: its circumstances are {then!r:.200}") from error


def _other_config(before: str, now: str) -> list[str]:
    one, other = _sections(before), _sections(now)
    changed = sorted(
        key for key in one.keys() | other.keys() if one.get(key) != other.get(key) and key not in NOT_HASHED
    )
    return [f"this config is not the checkpoint's: {', '.join(changed)} differ"] if changed else []


def _sections(text: str) -> dict[str, str]:
    """Return the top-level keys of a config's text with the text of their values."""
    parts = re.split(r"^(\w+) = ", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _other_shards(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if all(before[key] == now[key] for key in ("processes", "accumulate", "batch_size")):
        return []
    then, today = (f"{one['processes']} x {one['accumulate']} micro-batches a step" for one in (before, now))
    same = before["processes"] * before["accumulate"] == now["processes"] * now["accumulate"]
    if same and before["batch_size"] == now["batch_size"]:
        means = "batches and draws stay the same; BatchNorm's running statistics are those that the main process sees"
    else:
        means = "a step has the same images, but the draws are others from here on"
    return [f"the checkpoint comes from processes x accumulation of {then}, this run has {today}: {means}"]


def _other_code(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    one, other = ({**c["code"], "device": c["device"], "threads": c["threads"]} for c in (before, now))
    changed = [f"{key} {one.get(key)}, now {other.get(key)}" for key in other if one.get(key) != other.get(key)]
    what = "; ".join(changed)
    return [f"the checkpoint comes from {what}: the run goes on, perhaps not to the same last bits"] if changed else []
