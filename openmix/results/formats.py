"""A table's sheets as text for a terminal, as Markdown and as LaTeX."""

import re
from collections.abc import Callable, Sequence

from rich.console import Console, RenderableType
from rich.console import Group as Together
from rich.table import Table as RichTable
from rich.text import Text

from openmix.results.layout import Whole, add_column, notes_below
from openmix.results.naming import plain
from openmix.results.rows import LeftOut, Table
from openmix.results.sheets import Sheet, sheets
from openmix.results.summaries import STATISTICS

__all__ = ["latex", "markdown", "print_text"]

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def print_text(table: Table, console: Console, statistics: Sequence[str] = (*STATISTICS,)) -> None:
    """Print a table for people; one that is wider than the terminal is printed whole."""
    for sheet in sheets(table, statistics):
        console.print(_rich(sheet), crop=False)
    for line in _left_out(table):
        console.print(Text(line), soft_wrap=True)


def _rich(sheet: Sheet) -> RenderableType:
    # neither a figure nor an interval is to be broken
    rows = [[cell.replace(" ± ", "±").replace(" .. ", "..") for cell in row] for row in sheet.rows]
    cells = [*zip(*rows, strict=True)]
    table = RichTable()
    for k, head in enumerate(sheet.head):
        add_column(table, head, cells[k], justify="left" if k == 0 else "right", whole=False)
    for row in rows:
        table.add_row(*map(Text, row))
    notes = [notes_below(sheet.notes)] if sheet.notes else []
    return Together(Text(sheet.title, style="bold"), Whole(table), Text(sheet.caption), *notes, Text())


def markdown(table: Table, statistics: Sequence[str] = (*STATISTICS,)) -> str:
    """Return a table as Markdown."""
    parts = []
    for sheet in sheets(table, statistics):
        lines = [[_markdown(cell) for cell in row] for row in (sheet.head, *sheet.rows)]
        lines.insert(1, ["---", *["---:"] * (len(sheet.head) - 1)])
        parts.append(f"**{_markdown(sheet.title)}**")
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        parts.append(_markdown(sheet.caption))
        if sheet.notes:
            parts.append("\n".join(f"{k}. {_markdown(note)}" for k, note in enumerate(sheet.notes, 1)))
    return "\n\n".join([*parts, *_list(table, lambda line: f"- {_markdown(line)}")]) + "\n"


def latex(table: Table, statistics: Sequence[str] = (*STATISTICS,)) -> str:
    """Return a table as LaTeX: a tabular for each data set and network, without any package."""
    parts = []
    for sheet in sheets(table, statistics):
        parts.append(rf"\noindent\textbf{{{_latex(sheet.title)}}}\par\smallskip")
        parts.append(_tabular(sheet))
        parts.append(rf"\par\smallskip{{\footnotesize {_latex(sheet.caption)}\par}}")
        parts += [rf"{{\footnotesize [{k}] {_latex(note)}\par}}" for k, note in enumerate(sheet.notes, 1)]
    return "\n\n".join([*parts, *_list(table, lambda line: rf"{{\footnotesize {_latex(line)}\par}}")]) + "\n"


def _tabular(sheet: Sheet) -> str:
    head, *rows = [" & ".join(map(_latex, row)) + r" \\" for row in (sheet.head, *sheet.rows)]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(sheet.head) - 1)}}}"
    return "\n".join([begin, r"\hline", head, r"\hline", *rows, r"\hline", r"\end{tabular}"])


def _left_out(table: Table) -> list[str]:
    """Return the runs that are in no mean, a line each, below what they are; and what is to be said of the whole."""
    notes = [f"{note}." for note in table.notes]
    if not table.left_out:
        return notes
    count = len(table.left_out)
    return [*notes, f"In no mean: {count} run{'s' * (count > 1)}.", *map(_state, table.left_out)]


def _state(run: LeftOut) -> str:
    return plain(f"{run.state}: {run.folder}{f' ({run.name})' if run.name else ''}: {run.reason}")


def _list(table: Table, spell: Callable[[str], str]) -> list[str]:
    lines = _left_out(table)
    return ["\n".join(map(spell, lines))] if lines else []


def _markdown(text: str) -> str:
    """Return text that Markdown, and HTML in it, takes as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|~])", r"\\\1", _line(text))


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in _line(text))


def _line(text: str) -> str:
    return " ".join(text.split())
