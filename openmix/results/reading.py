"""From folders to a table: find the runs, read them, group them by config, compare."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openmix.engine.config_hash import study_hash
from openmix.errors import UserError, did_you_mean
from openmix.results.groups import Group, group_runs
from openmix.results.naming import flat, label, plain_method
from openmix.results.published.matching import published_like
from openmix.results.published.names import DATASETS, METHODS, NETWORKS
from openmix.results.rows import LeftOut, Table, make_row
from openmix.results.runs import Run, Unreadable, find_runs, read_run
from openmix.results.studies import not_begun, with_outcomes

__all__ = ["make_table", "read_runs", "read_table"]

Track = Callable[[Sequence[Path]], Iterable[Path]]
NO_METRICS = frozenset({"split", "epoch", "step", "n", "damaged"})


def read_table(paths: Sequence[Path], baseline: str | None = None, metric: str = "top1", track: Track = iter) -> Table:
    """Return the table of all runs at or below some folders.

    Args:
        paths: studies, work dirs, or folders above them.
        baseline: the method or the name of the group that others are compared with; by default ``vanilla`` of the same
            data set, network and epochs; of what learns without labels the same without mixing, such as ``moco``.
        metric: which figure of the validation records.
        track: what goes through the work dirs, to show how far it is.

    Raises:
        UserError: a path is no folder, there are no runs, no run has the metric, or no group the baseline's name.
    """
    waiting = not_begun(paths)
    runs, unreadable = read_runs(paths, track, none_is_wrong=not waiting)
    return make_table(runs, [*unreadable, *waiting], baseline, metric)


def read_runs(
    paths: Sequence[Path], track: Track = iter, none_is_wrong: bool = True
) -> tuple[list[Run], list[LeftOut]]:
    """Return the runs at or below some folders, and what cannot be read there.

    Raises:
        UserError: a path is no folder, or there are no runs and that is wrong.
    """
    folders, refused = find_runs(paths)
    if not folders and not refused and none_is_wrong:
        raise UserError(f"no runs in {', '.join(map(str, paths))}: a run's work dir has a run.json")
    runs = [read_run(folder) for folder in track(folders)]
    damaged = [*refused, *(run for run in runs if isinstance(run, Unreadable))]
    found = with_outcomes([run for run in runs if isinstance(run, Run)], paths)
    return found, [LeftOut(u.folder, "", "damaged", u.reason) for u in damaged]


def make_table(
    runs: Sequence[Run], left_out: Sequence[LeftOut] = (), baseline: str | None = None, metric: str = "top1"
) -> Table:
    """Return the table of some runs; see :func:`read_table`."""
    finished = [run for run in runs if run.unfinished is None]
    _check_metric(metric, runs)
    groups, repeated = group_runs(finished, metric)
    groups.sort(key=_order)
    names = {study_hash(group.config or {}): group.name for group in groups}
    flats = {group.name: flat(group.config or {}) for group in groups}
    baselines = {group.name: _baseline_of(group, groups, baseline, flats) for group in groups}
    if baseline is not None and groups and not any(baselines.values()):
        known = dict.fromkeys([*(group.name for group in groups), *(group.label.method for group in groups)])
        raise UserError(f"no group is called {baseline!r}{did_you_mean(baseline, known)}")
    rows = [
        make_row(group, baselines[group.name], published_like(group.config or {}, group.label, metric))
        for group in groups
    ]
    alone = sum(row.baseline is None for row in rows)
    what = f"{baseline or 'vanilla'} of the same data set, network and epochs to compare with"
    notes = (f"{alone} of {len(rows)} groups: no {what}",) if alone else ()
    unfinished = [(run, *run.unfinished) for run in runs if run.unfinished is not None]
    out = [LeftOut(run.folder, _name(run, names), state, reason) for run, state, reason in unfinished]
    out += [LeftOut(run.folder, _name(run, names), "repeated", reason) for run, reason in repeated]
    ordered = sorted([*left_out, *out], key=lambda run: str(run.folder))
    return Table(metric, tuple(rows), tuple(ordered), notes)


def _check_metric(metric: str, runs: Sequence[Run]) -> None:
    known = dict.fromkeys(
        key
        for run in runs
        for record in run.validations[-1:]
        for key in record
        if key not in NO_METRICS and "time" not in key and "per_s" not in key
    )
    if known and metric not in known:
        raise UserError(f"no run's validation has a {metric!r}{did_you_mean(metric, known)}")


def _name(run: Run, names: Mapping[str, str]) -> str:
    """Return the name of the group that a run would be in, or its method where it would be alone."""
    return names.get(study_hash(run.config)) or label(run.config).method


def _order(group: Group) -> tuple:
    """Return where a group stands: data sets, networks and methods as the published tables have them, others behind."""
    own = group.label
    places = (
        _place(own.dataset, DATASETS),
        _place(own.network, NETWORKS),
        own.epochs or 0,
        _place(own.method, METHODS),
    )
    return (*places, own.alpha, own.mix_prob, group.name)


def _place(name: str, vocabulary: Mapping[str, str]) -> tuple[int, str]:
    return ([*vocabulary].index(name) if name in vocabulary else len(vocabulary), name)


def _baseline_of(
    group: Group, groups: Sequence[Group], wanted: str | None, flats: Mapping[str, Mapping[str, Any]]
) -> Group | None:
    """Return the group to compare with: of several that might be, the one whose config differs in the fewest keys."""
    alike = [other for other in groups if _setting(other) == _setting(group)]
    if named := [other for other in alike if other.name == wanted]:
        return named[0]
    name = wanted or plain_method(group.label.method)
    candidates = [other for other in alike if other.label.method == name]
    if group in candidates:
        return group
    return min(candidates, key=lambda other: _distance(flats[group.name], flats[other.name]), default=None)


def _setting(group: Group) -> tuple[str, str, int | None]:
    return group.label.dataset, group.label.network, group.label.epochs


def _distance(one: Mapping, other: Mapping) -> int:
    return sum(one.get(key, ...) != other.get(key, ...) for key in one.keys() | other.keys())
