"""What a queue shows, on a terminal and elsewhere."""

import io

from rich.console import Console
from rich.live import Live

from openmix.results.grids.board import Lines, LiveTable, Row, View, board
from openmix.results.grids.states import Progress

VIEW = View(
    total=12, done=3, failed=[("r18_[bold]_s0", "RuntimeError: [red]boom[/red]")], held=2, seconds_left=754,
    running=[
        Row("r18_mixup_s0", "gpu 0", Progress(2.5, 10, "epoch", 43.125, 2711), 65, 200),
        Row("r18_cutmix_s0", "gpu 0 #2", None, 3),
    ],
)  # fmt: skip


def drawn(view, width=120):
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        LiveTable(live).say("0/12 started [x]")
        LiveTable(live).show(view)
    return output.getvalue()


def test_the_table_tells_what_runs_and_what_failed():
    text = drawn(VIEW)
    lines = [line.split() for line in text.splitlines()]
    assert ["r18_mixup_s0", "gpu", "0", "epoch", "3/10", "43.12", "2,711", "0:01:05", "0:03:20"] in lines
    assert ["r18_cutmix_s0", "gpu", "0", "#2", "starting", "0:00:03", "?"] in lines
    for words in ("4/12", "ETA 0:12:34", "1 failed", "2 held by others", "started [x]"):
        assert words in text
    assert "failed r18_[bold]_s0" in text  # names and messages are no markup
    assert "RuntimeError: [red]boom[/red]" in text


def test_the_table_of_nothing_can_be_drawn():
    assert "0/0" in drawn(View(0, 0, [], 0, [], None))
    assert "1/2" in drawn(View(2, 1, [], 0, [], None), width=20)


def test_elsewhere_events_are_dated_lines(capsys):
    with board() as lines:
        assert isinstance(lines, Lines)
        lines.say("1/2 done a")
        lines.show(VIEW)
    date, _, text = capsys.readouterr().out.partition(" 1/2 ")
    assert len(date) == len("2026-01-01 00:00:00")
    assert text == "done a\n"
