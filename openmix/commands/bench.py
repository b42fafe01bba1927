"""Measure how fast openmix is on this machine, beside a bare PyTorch loop, timm and torchvision.

Candidates take turns in one run; figures are medians with 95 % intervals. Without PART all parts are measured. They
compute where training would: on the GPU where there is one (CUDA_VISIBLE_DEVICES= hides it). A bar that is missed is a
finding and no failure: the exit code is 0.
"""

import argparse
import errno
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from openmix.bench import GPU, PARTS, Part
from openmix.errors import UserError

__all__ = ["add_arguments", "main"]

DATA, FOLDER = Path("data/cifar10"), "cifar-10-batches-py"


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
        "--out", type=Path, default=Path("speed.json"), metavar="FILE.json",
        help="the figures; a page of tables, FILE.md, goes beside it (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument(
        "--gpu", action="store_true", help=f"{GPU['gpu'].about}; alone where no PART is named, after them otherwise"
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure part after part, writing the report anew after each, and print it."""
    parts = _chosen(arguments.parts, arguments.gpu)
    data = _data(arguments.data)
    _check_out(arguments.out)
    from openmix.bench.report import Options, facts, markdown, write_report
    from openmix.engine.distributed import join_world

    device = join_world().device
    if arguments.gpu and device.type != "cuda":
        raise UserError("--gpu measures a CUDA device, and torch finds none here")
    about = {
        **facts(device),
        "data": "CIFAR-10" if data else "random images of CIFAR-10's size (no --data)",
        **({"quick": "so little was measured that the figures say nothing"} if arguments.quick else {}),
    }
    sections: list[Any] = []
    with _progress(parts) as say:
        for name in parts:
            options = Options(device, data, arguments.quick, say=lambda line, name=name: say(name, line))
            say(name, PARTS.get(name, GPU.get(name)).about)
            sections.append(import_module(f"openmix.bench.{name}").run(options))
            write_report(arguments.out, sections, about)
    for section in sections:
        print(f"\n{markdown(section)}", end="")
    bars = [bar for section in sections for bar in section.bars]
    missed = sum(not bar.met for bar in bars)
    print(
        f"\n{len(bars) - missed} bars of {len(bars)} met; wrote {arguments.out} and {arguments.out.with_suffix('.md')}"
    )
    return 0


def _chosen(names: list[str], gpu: bool) -> dict[str, Part]:
    """Return the parts to measure, in their own order whatever the user's."""
    if unknown := [name for name in names if name not in PARTS]:
        raise UserError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    wanted = names or ([] if gpu else PARTS)
    return {name: part for name, part in PARTS.items() if name in wanted} | (GPU if gpu else {})


def _data(folder: Path | None) -> Path | None:
    """Return the folder of CIFAR-10, or None where none is named and there is none in the usual place."""
    if folder is None:
        return DATA if (DATA / FOLDER).is_dir() else None
    if not (folder / FOLDER).is_dir():
        raise UserError(f"--data: {folder} holds no {FOLDER}; leave it out to measure random images")
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
    except OSError as error:
        raise UserError(f"--out: cannot write {out}: {error.strerror}") from error


@contextmanager
def _progress(parts: Mapping[str, Part]) -> Iterator[Callable[[str, str], None]]:
    """Give ``say(part, line)``, which prints a line; on a terminal a bar below tells how much is left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console, names, began = Console(highlight=False, soft_wrap=True), list(parts), time.perf_counter()
    total = sum(part.minutes for part in parts.values())
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=total)

        def say(name: str, line: str) -> None:
            number = names.index(name)
            done = sum(parts[before].minutes for before in names[:number])
            spent = (time.perf_counter() - began) / 60
            left = max((spent / done if done else 1) * (total - done), 1)
            where = f"{name}, part {number + 1} of {len(names)}, about {left:.0f} min left"
            progress.update(bar, completed=done, description=where)
            console.print(f"{name}: {line}" if console.is_terminal else f"{where}: {line}", markup=False)

        yield say
