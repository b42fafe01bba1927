"""Published figures as tables for a terminal: methods down, epochs or metrics across, notes below."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from openmix.results.layout import Notes, Whole, add_column, notes_below
from openmix.results.published import Published
from openmix.results.published.names import DATASETS, METHODS, METRICS, NETWORKS, RECIPES, STATISTICS

__all__ = ["overview", "published_tables"]

Column = tuple[str, int | None, str]  # metric, epochs, statistic


def published_tables(figures: Iterable[Published]) -> list[RenderableType]:
    """Return a table for each data set, network, source and recipe, in the vocabularies' order.

    Args:
        figures: what is shown.
    """
    groups: dict[tuple[str, ...], list[Published]] = {}
    for f in figures:
        groups.setdefault((f.dataset, f.network, f.source, f.recipe), []).append(f)
    datasets, networks = [*DATASETS], [*NETWORKS]
    ordered = sorted(groups, key=lambda key: (datasets.index(key[0]), networks.index(key[1])))
    return [_group(groups[key]) for key in ordered]


def overview(figures: Iterable[Published]) -> RenderableType:
    """Return how many figures there are of each network on each data set."""
    counts: dict[str, dict[str, int]] = {name: dict.fromkeys(NETWORKS, 0) for name in DATASETS}
    for f in figures:
        counts[f.dataset][f.network] += 1
    networks = {
        dataset: ", ".join(f"{name}:{n}" for name, n in there.items() if n) for dataset, there in counts.items()
    }
    table = Table()
    add_column(table, "data set", networks, whole=True)
    add_column(table, "networks, and how many figures there are of each", networks.values())
    for row in networks.items():
        table.add_row(*row)
    return Whole(table)


def _group(figures: Sequence[Published]) -> RenderableType:
    """Return one table, what its figures are, where they come from, and the notes on them."""
    first, origin, notes = figures[0], figures[0].origin, Notes()
    columns = sorted({_column(f) for f in figures}, key=_column_order)
    lines = sorted({(f.method, f.variant): None for f in figures}, key=lambda line: [*METHODS].index(line[0]))
    places = {(f.method, f.variant, *_column(f)): f for f in figures}
    labels = ["method"]
    labels += ["alpha"] if any(f.alpha for f in figures) else []
    labels += ["extra cost"] if first.add_cost is not None else []
    shared, heads = _heads(columns)
    cells = [_row([places.get((*line, *column)) for column in columns], labels, notes) for line in lines]
    turned = len(columns) > len(lines) and _varies(columns, 0)
    table = _turned(heads, cells) if turned else _upright(labels, heads, cells)
    title = f"{DATASETS[first.dataset]}, {NETWORKS[first.network]} ({first.dataset} {first.network}): {origin.title}"
    return Group(
        Text(title + (f", {first.recipe}" if first.recipe else ""), style="bold"),
        Whole(table),
        Text(f"{shared}Recipe: {RECIPES[first.recipe] or 'not stated'}."),
        Text(f"Source: {origin.title}, {origin.link}. {origin.note}".rstrip()),
        *([notes_below(notes.texts)] if notes.texts else []),
        Text(),
    )


def _column(figure: Published) -> Column:
    return figure.metric, figure.epochs, figure.statistic


def _column_order(column: Column) -> tuple[int, int, int]:
    metric, epochs, statistic = column
    return [*METRICS].index(metric), epochs or 0, [*STATISTICS].index(statistic)


def _varies(columns: Sequence[Column], part: int) -> bool:
    return len({column[part] for column in columns if column[part] != ""}) > 1


def _heads(columns: Sequence[Column]) -> tuple[str, list[list[str]]]:
    """Return what all columns share, as a sentence, and each column's head, part by part: what sets it apart."""
    spelt = [
        (METRICS[metric], f"{epochs} epochs" if epochs else "", STATISTICS[statistic])
        for metric, epochs, statistic in columns
    ]
    varying = [_varies(columns, part) for part in range(3)]
    varying[0] |= not any(varying)  # a single column is headed by its metric
    common = ", ".join(filter(None, (max(words[part] for words in spelt) for part in range(3) if not varying[part])))
    heads = [[word for word, varies in zip(words, varying, strict=True) if word and varies] for words in spelt]
    return f"{common[0].upper()}{common[1:]}. " if common else "", heads


def _row(figures: Sequence[Published | None], labels: Sequence[str], notes: Notes) -> list[str]:
    """Return a method's cells; what is to be noted of all of its figures is noted at its name."""
    there = [f for f in figures if f is not None]
    first = there[0]
    common = [note for note in first.notes if all(note in f.notes for f in there)]
    name = f"{METHODS[first.method]}, {first.variant}" if first.variant else METHODS[first.method]
    alphas = dict.fromkeys(", ".join(f"{a:g}" for a in f.alpha) for f in there)
    label = {
        "method": f"{name} {notes.mark(common)}".rstrip(),
        "alpha": " / ".join(alphas),
        "extra cost": "yes" if first.add_cost else "no",
    }
    cells = [label[name] for name in labels]
    for figure in figures:
        own = [note for note in figure.notes if note not in common] if figure else []
        cells.append(f"{notes.mark(own)} {figure.printed}".lstrip() if figure else "")
    return cells


def _upright(labels: Sequence[str], heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> Table:
    """Return the table with a method in a row."""
    columns = [*zip(*rows, strict=True)]
    table = Table()
    for k, label in enumerate(labels):
        add_column(table, label, columns[k], whole=k == 0)
    for parts, cells in zip(heads, columns[len(labels) :], strict=True):
        add_column(table, "\n".join(parts), cells, justify="right")
    for cells in rows:
        table.add_row(*map(Text, cells))
    return table


def _turned(heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> Table:
    """Return the table with a method in a column, for many metrics of few methods."""
    labels = [", ".join(parts) for parts in heads]
    table = Table()
    add_column(table, "", labels)
    for cells in rows:
        add_column(table, cells[0], cells[1:], justify="right")
    for k, label in enumerate(labels, -len(heads)):
        table.add_row(label, *(Text(cells[k]) for cells in rows))
    return table
