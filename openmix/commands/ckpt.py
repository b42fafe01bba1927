"""List the checkpoints of a run (ls), check them (verify), and export their weights as safetensors (export).

Nothing in a checkpoint is executed, and a damaged one is no more than a line that says so.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openmix.errors import UserError

if TYPE_CHECKING:
    from openmix.commands._ckpt_look import Look

__all__ = ["add_arguments", "main"]

PLACE = "a run's work dir, its checkpoints/ folder, or one checkpoint"
COLUMNS = ("name", "step", "epoch", "size", "written", "top-1 (%)", "state")
RIGHT = ("step", "size", "top-1 (%)")  # figures, which stand on the right of their columns

LS = """List checkpoints, newest first, with the top-1 of the run's last validation before each. An epoch that is not
finished is followed by how many of its steps are done. The state is 'ok' if the file loads, and its size and SHA-256
are those in manifest.json; 'not in the manifest' if it loads, and is what the CRC-32 sums inside it say; or what is
wrong with it. Where the output is no terminal, columns are separated by tabs."""
VERIFY = """Check checkpoints wholly: size, SHA-256, whether they load as plain data, are complete, and hold finite
weights; of a folder also say which one --resume would continue from. Exit code 0: all are good, 2: one is not, or there
is none."""
EXPORT = """Write the weights of a checkpoint as safetensors, which 'openmix test CONFIG OUT.safetensors' and other
programs read. The file's metadata name the checkpoint, its SHA-256, step and seed, and which weights these are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of each action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    ls = actions.add_parser(
        "ls", help="list checkpoints: step, epoch, top-1, and whether each is whole", description=LS
    )
    ls.add_argument("path", metavar="PATH", help=PLACE)
    verify = actions.add_parser("verify", help="check them wholly; exits with 2 if one is damaged", description=VERIFY)
    verify.add_argument("paths", nargs="+", metavar="PATH", help=PLACE)
    export = actions.add_parser("export", help="write the weights of one as .safetensors", description=EXPORT)
    export.add_argument("checkpoint", metavar="CHECKPOINT", help="such as work_dirs/NAME/checkpoints/best.pth")
    export.add_argument("out", metavar="OUT.safetensors", help="what to write")
    export.add_argument(
        "--weights", choices=("final", "model", "ema", "teacher"), default="final",
        help="final (default): those that the run validated, which are the averaged ones where it averages; "
        "model: as they were trained; ema: averaged; teacher: the momentum encoder of AutoMix, SAMix, AdAutoMix or "
        "MoCo, by the names of a network of its own",
    )  # fmt: skip
    export.add_argument(
        "--backbone", action="store_true",
        help="the backbone alone, without neck and head, by the names that MODELS.build(backbone) has for its weights",
    )  # fmt: skip
    export.add_argument("--force", action="store_true", help="replace OUT.safetensors if it is there")


def main(arguments: argparse.Namespace) -> int:
    """Do what is asked for and return the exit code."""
    if arguments.action == "export":
        from openmix.commands._ckpt_export import export
        from openmix.engine.content import printable

        out = Path(arguments.out)
        said = export(Path(arguments.checkpoint), out, arguments.weights, arguments.backbone, arguments.force)
        _print([said, f"wrote {printable(str(out))}"])
        return 0
    return _list(Path(arguments.path)) if arguments.action == "ls" else _verify(list(map(Path, arguments.paths)))


def _list(path: Path) -> int:
    """Print the table."""
    from openmix.commands._ckpt_look import find_checkpoints, look_at

    rows = [_cells(look) for look in look_at(find_checkpoints(path)[1])]
    if not sys.stdout.isatty():
        _print(["\t".join(row) for row in [COLUMNS, *rows]])
        return 0
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE)  # its width fits a terminal of 80 columns
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in RIGHT else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as it is: a name may look like rich's markup
    Console(highlight=False).print(table)
    return 0


def _cells(look: "Look") -> tuple[str, ...]:
    """Return a row of the table; what is not known is a dash."""
    from openmix.engine.content import printable

    return (
        printable(look.path.name),
        "-" if look.step is None else str(look.step),
        look.epoch or "-",
        "-" if look.size is None else _size(look.size),
        "-" if look.written is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(look.written)),
        "-" if look.top1 is None else f"{look.top1:.2f}",
        look.verdict,
    )


def _size(count: float) -> str:
    """Return a number of bytes in words.

    >>> _size(999), _size(1_234_567)
    ('999 B', '1.2 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _verify(paths: list[Path]) -> int:
    """Print a line for each checkpoint, and for each folder what would be resumed from.

    Raises:
        UserError: one of them is not good, or there is none.
    """
    from openmix.commands._ckpt_look import find_checkpoints, look_at

    looks: list[Look] = []
    missing: list[str] = []
    for path in paths:
        try:
            folder, found = find_checkpoints(path)
        except UserError as error:  # the others are wanted all the same
            missing.append(str(error))
            continue
        looks += (these := look_at(found, weights_too=True))
        _print([_line(look) for look in these] + ([_resumed(folder, these)] if folder else []))
    bad = [look for look in looks if look.problem]
    said = [f"{len(bad)} of {len(looks)} checkpoints cannot be relied on"] if bad else []
    if said or missing:
        raise UserError("; ".join([*missing, *said]))
    return 0


def _line(look: "Look") -> str:
    from openmix.engine.content import printable

    name = printable(str(look.path))
    if look.problem:
        return f"{name}: {look.problem}"
    compared = "as in manifest.json" if look.compared else "not in the manifest; as the sums inside it say (CRC-32)"
    return f"{name}: ok, step {look.step}, epoch {look.epoch}; {compared}"


def _resumed(folder: Path, looks: Sequence["Look"]) -> str:
    """Say which checkpoint of a folder ``--resume`` would continue from, by the code that does it."""
    from openmix.engine.checkpoint_folder import CheckpointFolder
    from openmix.engine.content import printable

    name = printable(str(folder))
    try:
        found = CheckpointFolder(folder).newest_good(lambda said: None)
    except UserError:  # all are damaged
        found = None
    if found is None:
        return f"{name}: nothing that --resume could continue from"
    chosen = found[0]
    if all(look.path.name != chosen.name or not look.problem for look in looks):
        return f"{name}: --resume would continue from {printable(chosen.name)}"
    good = [look.path for look in looks if not look.problem]
    instead = f"; name another: --resume {printable(str(good[0]))}" if good else ""
    return f"{name}: --resume would try {printable(chosen.name)}, which is not good{instead}"


def _print(lines: Sequence[str]) -> None:
    """Print lines to a reader that may stop before their end, as ``head`` does."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
