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


def test_in_a_narrow_terminal_names_are_folded_and_figures_are_whole():
    names = [f"r18_mixup-cutmix_a0.2-1_p0.4-0.6_lr0.1_wd0.0005_ep1200_s{seed}" for seed in (10, 11)]
    rows = [Row(name, "gpu 0 #2", Progress(164.5, 1200, "epoch", 43.125, 12711), 3665, 86399) for name in names]
    reason = "exit code 1: RuntimeError: CUDA out of memory; " * 3
    text = drawn(View(312, 101, [(names[0], reason)], 2, rows, 3 * 86400 + 61), width=80)
    lines = text.rpartition("\x1b[2K")[2].removesuffix("\x1b[?25h").rstrip("\n").splitlines()  # as it was drawn last
    lines[-1] = lines[-1].partition("\x1b")[0].rstrip()
    for words in ("102/312", "ETA 3 d 0:01:01", "1 failed", "2 held by others"):
        assert words in text
    for word in ("slot", "at", "top1", "images/s", "for", "ETA"):
        assert word in lines[1].split()
    figures = [i for i, line in enumerate(lines) if "gpu 0 #2 epoch 165/1200 43.12   12,711 1:01:05 23:59:59" in line]
    assert len(figures) == 2
    ends = [*figures[1:], next(i for i, line in enumerate(lines) if line.startswith("failed "))]
    for name, first, end in zip(names, figures, ends, strict=True):
        assert "".join(line.split()[0] for line in lines[first:end]) == name
    assert "".join(lines[ends[-1] :]).replace(" ", "").endswith(f"failed{names[0]}{reason}".replace(" ", "").strip())
    assert "…" not in text


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
