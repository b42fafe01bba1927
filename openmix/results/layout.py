"""Tables for a terminal of any width, with footnotes: no digit is cut off."""

from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

__all__ = ["Notes", "Whole", "add_column", "notes_below"]


class Whole:
    """A table that is as wide as its columns must be where the terminal is not; it is to be printed uncropped.

    rich makes columns narrower than their ``min_width``, or drops them, as soon as there is no room for them.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        least = sum((column.min_width or 0) + 3 for column in self.table.columns) + 1  # with padding and borders
        yield from console.render(self.table, options.update(width=max(options.max_width, least)))


class Notes:
    """Footnotes: each text gets a number when it is first used."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, texts: Sequence[str]) -> str:
        """Return the texts' numbers, in brackets; nothing for no text."""
        self.texts += [text for text in texts if text not in self.texts]
        numbers = sorted(self.texts.index(text) + 1 for text in texts)
        return f"[{','.join(map(str, numbers))}]" if numbers else ""


def notes_below(texts: Iterable[str]) -> Table:
    """Return footnotes below each other behind their numbers."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column()
    grid.add_column(overflow="fold")
    for number, text in enumerate(texts, 1):
        grid.add_row(Text(f"[{number}]"), Text(text))
    return grid


def add_column(
    table: Table, head: str, cells: Iterable[str], justify: Literal["left", "right"] = "left", whole: bool = False
) -> None:
    """Add a column that, however narrow the terminal, cuts no word; nor breaks a line, if it is to be ``whole``."""
    words = [word for text in (head, *cells) for word in ([text] if whole else text.split())]
    width = max(map(len, words), default=0)
    table.add_column(Text(head), justify=justify, no_wrap=whole, min_width=width)
