"""Several configs, each trained with the same seeds, in one table with differences to the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from openmix.results.statistics import Interval, mean_interval

__all__ = ["Comparison", "Row"]


@dataclass(frozen=True)
class Row:
    """One config.

    Attributes:
        name: what it is called.
        value: its metric over the seeds.
        difference: to the first config, seed by seed; None for the first itself.
    """

    name: str
    value: Interval
    difference: Interval | None


class Comparison:
    """A metric of several configs over the same seeds.

    Args:
        runs: by config name, by seed, the metrics of that run; the first config is what the others are compared with.
        split: what was evaluated, 'val' or 'test'.
        metric: which figure, for example 'top1'.
    """

    def __init__(
        self, runs: Mapping[str, Mapping[int, Mapping[str, Any]]], split: str = "test", metric: str = "top1"
    ) -> None:
        names = list(runs)
        self.seeds = list(runs[names[0]])
        self.images = next(iter(runs[names[0]].values()))["n"]
        self.split, self.metric = split, metric
        first = [runs[names[0]][seed][metric] for seed in self.seeds]
        self.rows: list[Row] = []
        for name in names:
            values = [runs[name][seed][metric] for seed in self.seeds]
            differences = [v - f for v, f in zip(values, first, strict=True)]
            paired = None if name == names[0] else mean_interval(differences)
            self.rows.append(Row(name, mean_interval(values), paired))

    @property
    def note(self) -> str:
        """Say what the figures are."""
        return (
            f"{self.metric} on {self.images:,} {self.split} images, mean of {len(self.seeds)} seeds "
            f"({', '.join(map(str, self.seeds))}); differences to {self.rows[0].name} seed by seed, "
            "± is the 95 % interval (Student's t) over seeds"
        )

    def _cells(self) -> list[Sequence[str]]:
        return [
            (r.name, _spell(r.value, ""), "" if r.difference is None else _spell(r.difference, "+")) for r in self.rows
        ]

    def table(self) -> Table:
        """Return the table for a terminal."""
        table = Table(caption=self.note, caption_justify="left")
        table.add_column("method")
        table.add_column(f"{self.metric} (%)", justify="right")
        table.add_column(f"difference to {self.rows[0].name}", justify="right")
        for cells in self._cells():
            table.add_row(*cells)
        return table

    def markdown(self) -> str:
        """Return the table as Markdown."""
        head = ("method", f"{self.metric} (%)", f"difference to {self.rows[0].name}")
        lines = [head, ("---", "---:", "---:"), *self._cells()]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + f"\n\n{self.note}.\n"


def _spell(interval: Interval, sign: str) -> str:
    if interval.n < 2:
        return f"{interval.mean:{sign}.2f}"
    return f"{interval.mean:{sign}.2f} ± {interval.half_width:.2f}"
