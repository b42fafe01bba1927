"""Measure how fast openmix is on this machine, beside a bare PyTorch loop, timm and torchvision.

Candidates take turns in one run; figures are medians with 95 % intervals. Without PART all parts are measured. They
compute where training would: on the GPU where there is one (CUDA_VISIBLE_DEVICES= hides it). A bar that is missed is a
finding and no failure: the exit code is 0.
"""

import argparse
import errno
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from openmix.bench import GPU, PARTS, Part
from openmix.errors import Reported, UserError

__all__ = ["add_arguments", "main"]

DATA, FOLDER, FIRST = Path("data/cifar10"), "cifar-10-batches-py", "data_batch_1"
QUICK = "Quick: so little was measured that the figures say nothing; from and to are their range."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "parts:\n" + "\n".join(f"  {name:10}{part.about}" for name, part in PARTS.items())
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure (default: all of those below)")
    parser.add_argument(
        "--data", type=Path, metavar="DIR",
        help=f"folder that holds {FOLDER} (default: {DATA} where it is there, else random images)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FILE.json",
        help="the figures; a page of tables, FILE.md, goes beside it (default: speed.json, or speed_quick.json with "
        "--quick); until all is measured they are in FILE.part.json and FILE.part.md",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument(
        "--gpu", action="store_true", help=f"{GPU['gpu'].about}; alone where no PART is named, after them otherwise"
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure part after part, writing what there is after each, and print the report."""
    parts = _chosen(arguments.parts, arguments.gpu)
    data = _data(arguments.data)
    out = arguments.out or Path("speed_quick.json" if arguments.quick else "speed.json")
    _check_out(out)
    from openmix.bench.report import Options, facts, markdown, write_report
    from openmix.engine.distributed import join_world

    device = join_world().device
    if arguments.gpu and device.type != "cuda":
        raise UserError("--gpu measures a CUDA device, and torch finds none here")
    about = {
        **({"warning": QUICK} if arguments.quick else {}),
        **facts(device),
        "data": "CIFAR-10 where a part says so" if data else "random images (no --data)",
        "command": _command(arguments),
    }
    sections: list[Any] = []
    began, partial = time.perf_counter(), out.with_suffix(".part.json")
    try:
        with _progress(parts, arguments.quick) as say:
            for name in parts:
                options = Options(device, data, arguments.quick, say=lambda line, name=name: say(name, line))
                say(name, PARTS.get(name, GPU.get(name)).about)
                sections.append(_measured(name, options))
                minutes = f"{(time.perf_counter() - began) / 60:.1f} min"
                write_report(partial, sections, {**about, "duration": minutes})
    except BaseException:
        if sections:
            print(f"what was measured before is in {partial}", file=sys.stderr)
        raise
    for suffix in (".json", ".md"):
        partial.with_suffix(suffix).replace(out.with_suffix(suffix))
    if arguments.quick:
        print(f"\n{QUICK}")
    for section in sections:
        print(f"\n{markdown(section)}", end="")
    bars = [bar for section in sections for bar in section.bars]
    missed = sum(not bar.met for bar in bars)
    print(f"\n{len(bars) - missed} bars of {len(bars)} met; wrote {out} and {out.with_suffix('.md')}")
    return 0


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that measures this, but for the names of folders and files."""
    options = {"--data DIR": arguments.data, "--quick": arguments.quick, "--gpu": arguments.gpu}
    return " ".join(["openmix bench", *arguments.parts, *(name for name, given in options.items() if given)])


def _measured(name: str, options: Any) -> Any:
    """Measure a part.

    Raises:
        Reported: a package that it wants cannot be imported.
    """
    try:
        return import_module(f"openmix.bench.{name}").run(options)
    except ImportError as error:
        if (error.name or "openmix").partition(".")[0] == "openmix":
            raise
        raise Reported(f"part {name} wants a package that cannot be imported here: {error}") from error


def _chosen(names: list[str], gpu: bool) -> dict[str, Part]:
    """Return the parts to measure, in their own order whatever the user's."""
    if unknown := [name for name in names if name not in PARTS]:
        raise UserError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    wanted = names or ([] if gpu else PARTS)
    return {name: part for name, part in PARTS.items() if name in wanted} | (GPU if gpu else {})


def _data(folder: Path | None) -> Path | None:
    """Return the folder of CIFAR-10, or None where none is named and there is none in the usual place."""
    if folder is None:
        return DATA if (DATA / FOLDER / FIRST).is_file() else None
    if not (folder / FOLDER / FIRST).is_file():
        raise UserError(
            f"--data: {folder} holds no {FOLDER} with {FIRST} and so on in it; leave it out to measure random images"
        )
    return folder


def _check_out(out: Path) -> None:
    """Find out now, and not after half an hour, that the report cannot be written."""
    if out.suffix != ".json":
        raise UserError(f"--out takes a name that ends in .json, not {out}")
    try:
        if out.is_dir() or out.with_suffix(".md").is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except FileExistsError as error:
        raise UserError(f"--out: cannot write {out}: {out.parent} is not a folder") from error
    except OSError as error:
        raise UserError(f"--out: cannot write {out}: {error.strerror}") from error


@contextmanager
def _progress(parts: Mapping[str, Part], quick: bool) -> Iterator[Callable[[str, str], None]]:
    """Give ``say(part, line)``, which prints a line; on a terminal a bar below tells how much is left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console, clock = Console(highlight=False, soft_wrap=True), Clock(parts, quick)

    class Left(ProgressColumn):
        """What is left, as time goes by."""

        def render(self, task: Any) -> Text:
            return Text(clock.left())

    columns = (TextColumn("{task.description}"), Left(), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(parts))

        def say(name: str, line: str) -> None:
            clock.comes_to(name)
            where = f"{name}, part {clock.number + 1} of {len(parts)}"
            progress.update(bar, completed=clock.number, description=where)
            console.print(f"{name}: {line}" if console.is_terminal else f"{where}{clock.left()}: {line}", markup=False)

        yield say


class Clock:
    """Knows how much time is left, by what the parts take elsewhere and have taken here.

    Args:
        parts: what is measured, in order.
        quick: nothing is known of how long that takes.
    """

    def __init__(self, parts: Mapping[str, Part], quick: bool) -> None:
        self.names, self.quick = list(parts), quick
        self.minutes = [part.minutes for part in parts.values()]
        self.number, self.began = 0, time.perf_counter()
        self.before = 0.0  # minutes that the parts before took

    def comes_to(self, name: str) -> None:
        """Note that a part has begun, if it is another."""
        if self.names.index(name) != self.number:
            self.number, self.before = self.names.index(name), self._spent()

    def left(self) -> str:
        """Return how much is left, in words, to follow the part's name."""
        done = sum(self.minutes[: self.number])
        pace = self.before / done if done else 1
        later = pace * sum(self.minutes[self.number + 1 :])
        here = max(pace * self.minutes[self.number] - (self._spent() - self.before), 0)
        return "" if self.quick else f", about {max(here + later, 1):.0f} min left"

    def _spent(self) -> float:
        return (time.perf_counter() - self.began) / 60
