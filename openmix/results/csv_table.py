"""A table as CSV: a row a group with every digit, and a row for each run that is in no mean."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from openmix.results.rows import Figure, LeftOut, Row, Table
from openmix.results.summaries import STATISTICS

__all__ = ["columns", "csv_text"]

FIRST = (
    "state",
    "group",
    "dataset",
    "network",
    "method",
    "alpha",
    "mix_prob",
    "epochs",
    "metric",
    "n",
    "diverged",
    "seeds",
)
OF_STATISTIC = ("mean", "sd", "n", "missing", "difference", "low", "high", "paired", "published", "published_source")
LAST = ("baseline", "published_other", "notes", "folder", "reason")


def columns(statistics: Sequence[str] = (*STATISTICS,)) -> list[str]:
    """Return the header, with columns for some of :data:`STATISTICS`."""
    return [*FIRST, *(f"{statistic}_{part}" for statistic in statistics for part in OF_STATISTIC), *LAST]


def csv_text(table: Table, statistics: Sequence[str] = (*STATISTICS,)) -> str:
    """Return the table as CSV, with columns for some of :data:`STATISTICS`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns(statistics), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*(_group(row, table.metric, statistics) for row in table.rows), *map(_left_out, table.left_out)])
    return out.getvalue()


def _group(row: Row, metric: str, statistics: Sequence[str]) -> dict[str, Any]:
    label = row.group.label
    cells: dict[str, Any] = {
        "state": "done",
        "group": row.group.name,
        "dataset": label.dataset,
        "network": label.network,
        "method": label.method,
        "alpha": " ".join(f"{a:g}" for a in label.alpha),
        "mix_prob": " ".join(f"{p:g}" for p in label.mix_prob),
        "epochs": label.epochs,
        "metric": metric,
        "n": len(row.group.members),
        "diverged": row.diverged,
        "seeds": " ".join(str(member.run.seed) for member in row.group.members),
        "baseline": row.baseline,
        "published_other": " | ".join(
            f"{f.printed} {f.statistic} {f.source}" for f in row.published if f.statistic not in STATISTICS
        ),
        "notes": " | ".join(row.group.notes),
        "folder": " | ".join(str(member.run.folder) for member in row.group.members),
    }
    for statistic in statistics:
        cells |= {f"{statistic}_{part}": value for part, value in _figure(row.figures[statistic]).items()}
    return cells


def _figure(figure: Figure) -> dict[str, Any]:
    cells = {
        "mean": figure.mean,
        "sd": figure.sd,
        "n": figure.n,
        "missing": " | ".join(figure.missing),
        "published": " | ".join(published.printed for published in figure.published),
        "published_source": " | ".join(published.source for published in figure.published),
    }
    difference = figure.difference
    if difference is not None:
        cells |= {"difference": difference.mean, "paired": "yes" if difference.paired else "no"}
        if difference.half_width is not None:
            cells |= {
                "low": difference.mean - difference.half_width,
                "high": difference.mean + difference.half_width,
            }
    return cells


def _left_out(run: LeftOut) -> dict[str, Any]:
    return {"state": run.state, "group": run.name, "folder": str(run.folder), "reason": run.reason}
