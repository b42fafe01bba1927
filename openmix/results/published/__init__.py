"""Figures that other people published, each with its source and what is known to be wrong with it.

The CSV files beside this module are the data, one file a source or a source's table; :mod:`.names` and
:mod:`.sources` hold their vocabularies. ``docs/published.md`` says what the columns mean.
"""

import csv
import functools
from dataclasses import dataclass
from importlib import resources

from openmix.results.published.names import DATASETS, METHODS, NETWORKS, known_name
from openmix.results.published.sources import SOURCES, Source

__all__ = ["COLUMNS", "Published", "lookup", "read"]

COLUMNS = (
    "dataset", "network", "recipe", "method", "variant", "alpha", "epochs", "metric", "statistic", "value", "add_cost",
    "source", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
        dataset: what the network was trained on, a key of :data:`.names.DATASETS`.
        network: a key of :data:`.names.NETWORKS`.
        recipe: a key of :data:`.names.RECIPES`; empty where it is not stated.
        method: a key of :data:`.names.METHODS`: openmix's own name where openmix has the method.
        variant: what else sets two rows of a method apart, for example ``'p=0.5'``; mostly empty.
        alpha: Beta's parameter, one for each of the methods that are mixed; empty where there is none.
        epochs: how long was trained; None where it is not stated.
        metric: a key of :data:`.names.METRICS`.
        statistic: a key of :data:`.names.STATISTICS`: of which epochs the figure is.
        printed: the figure, digit by digit as printed.
        add_cost: whether the source marks the method as costing extra; None where it has no such mark.
        source: a key of :data:`.sources.SOURCES`.
        notes: what to keep in mind about this figure.
    """

    dataset: str
    network: str
    recipe: str
    method: str
    variant: str
    alpha: tuple[float, ...]
    epochs: int | None
    metric: str
    statistic: str
    printed: str
    add_cost: bool | None
    source: str
    notes: tuple[str, ...]

    @property
    def value(self) -> float:
        """The figure as a number, in the metric's unit."""
        return float(self.printed)

    @property
    def origin(self) -> Source:
        """The source, with its address."""
        return SOURCES[self.source]

    @property
    def cells(self) -> tuple[str, ...]:
        """The figure as its CSV file has it, in the order of :data:`COLUMNS`."""
        return (
            self.dataset, self.network, self.recipe, self.method, self.variant, " ".join(f"{a:g}" for a in self.alpha),
            "" if self.epochs is None else str(self.epochs), self.metric, self.statistic, self.printed,
            {True: "yes", False: "no", None: ""}[self.add_cost], self.source, " | ".join(self.notes),
        )  # fmt: skip


@functools.cache
def read() -> tuple[Published, ...]:
    """Return all figures, file by file in the order in which they were printed."""
    files = sorted(
        (file for file in resources.files(__name__).iterdir() if file.name.endswith(".csv")), key=lambda f: f.name
    )
    return tuple(
        _figure(row) for file in files for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines())
    )


def _figure(row: dict[str, str]) -> Published:
    return Published(
        dataset=row["dataset"],
        network=row["network"],
        recipe=row["recipe"],
        method=row["method"],
        variant=row["variant"],
        alpha=tuple(float(a) for a in row["alpha"].split()),
        epochs=int(row["epochs"]) if row["epochs"] else None,
        metric=row["metric"],
        statistic=row["statistic"],
        printed=row["value"],
        add_cost={"yes": True, "no": False, "": None}[row["add_cost"]],
        source=row["source"],
        notes=tuple(row["note"].split(" | ")) if row["note"] else (),
    )


def lookup(
    dataset: str | None = None, network: str | None = None, method: str | None = None, epochs: int | None = None
) -> list[Published]:
    """Return the figures that match everything that is given, from all sources.

    Args:
        dataset: its short name or its title; the same for ``network`` and ``method``.
        network: see ``dataset``.
        method: see ``dataset``.
        epochs: the training's length; a figure without a stated length matches no number.

    Raises:
        UserError: a name that no figure has; the message suggests the nearest.

    >>> [figure.printed for figure in lookup("CIFAR-10", "r18", "resizemix", epochs=400)]
    ['96.91']
    """
    wanted: dict[str, str | int] = {}
    if dataset is not None:
        wanted["dataset"] = known_name("data set", dataset, DATASETS)
    if network is not None:
        wanted["network"] = known_name("network", network, NETWORKS)
    if method is not None:
        wanted["method"] = known_name("method", method, METHODS)
    if epochs is not None:
        wanted["epochs"] = epochs
    return [figure for figure in read() if all(getattr(figure, f) == v for f, v in wanted.items())]
