"""Runs that differ in their seed alone, as one group."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openmix.engine.config_hash import hashed, study_hash, without_seed
from openmix.results.naming import Label, flat, label, plain, short_commit
from openmix.results.runs import Run
from openmix.results.summaries import Summary, summarise

__all__ = ["Group", "Label", "Member", "group_runs", "name_groups"]


@dataclass(frozen=True)
class Member:
    """A finished run and its figures."""

    run: Run
    summary: Summary


@dataclass(frozen=True)
class Group:
    """Finished runs of one config, one a seed.

    Attributes:
        name: what sets it apart from the other groups of a table, such as ``mixup a0.2`` or ``mixup a0.2,
            optim_wrapper.optimizer.lr=0.05``; no two are alike.
        label: its data set, network, method and so on.
        extras: what else sets it apart from groups of the same label, by dotted config key.
        members: its runs, by seed.
        notes: what to keep in mind of it.
        config: the config of its first run.
    """

    name: str
    label: Label
    extras: Mapping[str, str]
    members: tuple[Member, ...]
    notes: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None


def group_runs(runs: Iterable[Run], metric: str) -> tuple[list[Group], list[tuple[Run, str]]]:
    """Return finished runs in groups of equal configs, and those that repeat a seed of their group, with the reason.

    Of runs of the same seed the one that was started last is used.

    Args:
        runs: finished ones.
        metric: what is summarised.
    """
    by_hash: dict[str, list[Run]] = {}
    for run in runs:
        by_hash.setdefault(study_hash(run.config), []).append(run)
    groups, repeated = [], []
    for same in by_hash.values():
        kept: list[Run] = []
        for seed, repeats in itertools.groupby(sorted(same, key=_by_seed_and_start), key=lambda run: run.seed):
            *earlier, used = repeats
            kept.append(used)
            repeated += [
                (run, f"seed {seed} again: {used.folder}, which was started later, is used") for run in earlier
            ]
        members = tuple(Member(run, summarise(run.validations, metric)) for run in kept)
        first = kept[0].config
        groups.append(Group("", label(first), {}, members, _notes(kept), first))
    return name_groups(groups), repeated


def _by_seed_and_start(run: Run) -> tuple[int, str, str]:
    return run.seed, str(run.record.get("start_time")), str(run.folder)


def _notes(runs: Sequence[Run]) -> tuple[str, ...]:
    """Say what, beside seeds, differs between the runs of a group."""
    parts: dict[str, Callable[[Run], Any]] = {
        "world_size": lambda run: run.record.get("world_size"),
        "threads": lambda run: run.record.get("threads"),
        "device": lambda run: run.record.get("device"),
        "torch": lambda run: _version(run, "torch"),
        "git_commit": lambda run: short_commit(run.record.get("git_commit")),
    }
    notes = []
    for name, part in parts.items():
        seeds: dict[str, list[str]] = {}
        for run in runs:
            seeds.setdefault(plain(part(run)), []).append(str(run.seed))
        if len(seeds) > 1:
            spelt = ", ".join(f"{value} (seed {', '.join(of)})" for value, of in seeds.items())
            notes.append(f"its runs differ in {name}: {spelt}")
    lost = [f"{run.folder.name}: {run.damaged_lines}" for run in runs if run.damaged_lines]
    if lost:
        notes.append(f"metrics.jsonl has damaged lines, which are left out ({', '.join(map(plain, lost))})")
    return tuple(notes)


def _version(run: Run, package: str) -> Any:
    versions = run.record.get("versions")
    return versions.get(package) if isinstance(versions, dict) else None


def name_groups(groups: Sequence[Group]) -> list[Group]:
    """Give groups names of which no two are alike: the method, and as much else as it takes."""
    spelt = [(_method(g.label), g.label.network, g.label.dataset, _length(g.label)) for g in groups]
    extras = _extras(groups, spelt)
    named = []
    for group, words, own in zip(groups, spelt, extras, strict=True):
        like = [other for other in spelt if other[0] == words[0]]
        more = [words[i] for i in range(1, 4) if len({other[i] for other in like}) > 1]
        name = ", ".join([words[0], *more, *(f"{key}={value}" for key, value in own.items())])
        named.append(replace(group, name=name, extras=own))
    return named


def _method(label: Label) -> str:
    alpha = "a" + "-".join(f"{a:g}" for a in label.alpha) if label.alpha else ""
    prob = "p" + "-".join(f"{p:g}" for p in label.mix_prob) if label.mix_prob else ""
    return " ".join(filter(None, (label.method, alpha, prob)))


def _length(label: Label) -> str:
    return "by steps" if label.epochs is None else f"{label.epochs} epochs"


def _extras(groups: Sequence[Group], spelt: Sequence[tuple[str, ...]]) -> list[dict[str, str]]:
    """Return, for each group, the values of the config's keys in which groups that are called alike differ."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for i, words in enumerate(spelt):
        alike.setdefault(words, []).append(i)
    extras: list[dict[str, str]] = [{} for _ in groups]
    for indices in alike.values():
        if len(indices) == 1:
            continue
        configs = [flat(without_seed(hashed(groups[i].config or {}))) for i in indices]
        keys = list(dict.fromkeys(key for config in configs for key in config))
        for key in keys:
            values = [plain(config[key]) if key in config else "-" for config in configs]
            if len(set(values)) > 1:
                for i, value in zip(indices, values, strict=True):
                    extras[i][key] = value
    return extras
