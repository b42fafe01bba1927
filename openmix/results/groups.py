"""Runs that differ in their seed alone, as one group, with the mean over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

from openmix.results.runs import Run
from openmix.results.summaries import Summary

__all__ = ["Group", "Label", "Member"]


@dataclass(frozen=True)
class Label:
    """What a config trains, in the words of a table and of the published figures.

    Attributes:
        dataset: such as ``cifar10``; the data set's type where the published figures do not know it.
        network: such as ``r18``; the backbone's type and what sets it apart where they do not.
        method: such as ``mixup+cutmix``.
        alpha: Beta's parameter, one for each of the methods that have one; empty where they are at their defaults.
        mix_prob: the probability of each method; empty where they are equally likely.
        epochs: how long is trained; None where ``train_cfg.max_iters`` says it in steps.
    """

    dataset: str
    network: str
    method: str
    alpha: tuple[float, ...]
    mix_prob: tuple[float, ...]
    epochs: int | None


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
            optim_wrapper.optimizer.lr 0.05``; no two are alike.
        label: its data set, network, method and so on.
        extras: what else sets it apart from groups of the same label, by dotted config key.
        members: its runs, by seed.
        notes: what to keep in mind of it.
    """

    name: str
    label: Label
    extras: Mapping[str, str]
    members: tuple[Member, ...]
    notes: tuple[str, ...] = ()
