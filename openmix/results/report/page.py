"""The page: what was compared, the table, the curves, the runs, and the one style and one script that it has."""

import base64
import hashlib
from importlib import resources

from openmix.results.report.curve_section import curve_section, shown_at_first
from openmix.results.report.head import head, troubles
from openmix.results.report.markup import Element, element, html
from openmix.results.report.tables import Notes, group_table, run_table
from openmix.results.rows import Table

__all__ = ["page"]


def page(table: Table) -> str:
    """Return the page of a table as HTML."""
    style, script = (resources.files(__name__.rpartition(".")[0]).joinpath(n).read_text("utf-8") for n in FILES)
    names = list(dict.fromkeys(row.group.label.dataset for row in table.rows))
    title = f"openmix: {table.metric} on {', '.join(names[:3]) or 'no data'}{' and more' if len(names) > 3 else ''}"
    document = element(
        "html",
        {"lang": "en"},
        element(
            "head",
            None,
            element("meta", {"charset": "utf-8"}),
            # nothing is loaded, and no script runs but ours, whatever a config's names hold
            element("meta", {"http-equiv": "Content-Security-Policy", "content": _policy(style, script)}),
            element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            element("title", None, title),
            element("style", None, style),
        ),
        element("body", None, element("h1", None, title), *_sections(table), element("script", None, script)),
    )
    return f"<!DOCTYPE html>\n{html(document)}\n"


FILES = ("page.css", "page.js")


def _sections(table: Table) -> list[Element]:
    shown, notes = shown_at_first(table), Notes()
    groups = group_table(table, shown, notes)
    remarks = [element("p", {"class": "remark"}, note) for note in table.notes]
    caption = element("p", None, CAPTION)
    resumed = element("p", None, "The time of a run that was resumed is its last process's alone, and has a plus.")
    sections = [
        head(table),
        troubles(table),
        element("p", {"class": "scripted"}, element("label", None, "Show only ", element("input", FILTER))),
        element("section", None, element("h2", None, "Groups"), caption, groups, *remarks, *_some(notes.list())),
        curve_section(table, shown),
        element("details", None, element("summary", None, element("h2", None, "Runs")), resumed, run_table(table)),
    ]
    return [section for section in sections if section is not None]


FILTER = {"type": "search", "id": "filter", "placeholder": "words of a group's name, such as: cutmix a0.2"}
CAPTION = (
    "Mean ± sample standard deviation over n runs of the validation figure at the last epoch, its median over the last "
    "10 epochs, and its best epoch's, which is the most optimistic of the three."
)


def _some(part: Element | None) -> list[Element]:
    return [] if part is None else [part]


def _policy(style: str, script: str) -> str:
    sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return f"default-src 'none'; style-src 'sha256-{sums[0]}'; script-src 'sha256-{sums[1]}'"
