"""Convert a config of OpenMixup, or a checkpoint of OpenMixup, ResizeMix, R-Mix, CropMix, torchvision or timm.

A config (.py, .json, .yaml) becomes one config file of openmix that passes 'openmix check', and the terminal tells what
became of every key. A config in Python is executed: convert only what you trust. A checkpoint (.pth, .pth.tar, .pt,
.safetensors) is fitted by its names to the network of --config; nothing in it is executed.
"""

import argparse
from pathlib import Path

from openmix.errors import UserError

__all__ = ["add_arguments", "main"]

CONFIGS = (".py", ".json", ".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("old", metavar="OLD", help="the file to convert")
    parser.add_argument("-o", "--out", required=True, metavar="NEW", help="what to write")
    parser.add_argument(
        "--config", metavar="CONFIG", help="for a checkpoint: the openmix config whose network it is of"
    )
    parser.add_argument(
        "--preset", choices=["openmixup"],
        help="for a config: keep what OpenMixup's methods do otherwise than their authors' code",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace NEW if it is there")


def main(arguments: argparse.Namespace) -> int:
    """Convert and write; nothing is written where anything is wrong."""
    out = Path(arguments.out)
    is_config = Path(arguments.old).suffix.lower() in CONFIGS
    if out.exists() and (out.is_dir() or not arguments.force):
        raise UserError(f"{out} is there already" + ("" if out.is_dir() else "; --force replaces it"))
    for option, given, fits in (
        ("--config", arguments.config, not is_config),
        ("--preset", arguments.preset, is_config),
    ):
        if given and not fits:
            raise UserError(f"{option} is for {'checkpoints' if is_config else 'configs'}, and {arguments.old} is none")
    return _config(arguments, out) if is_config else _checkpoint(arguments)


def _config(arguments: argparse.Namespace, out: Path) -> int:
    from openmix.convert.config import check_text, convert_config
    from openmix.engine.files import write_atomically

    if out.suffix != ".py":
        raise UserError(f"a config is written as .py, not as {out.name}")
    text, report = convert_config(arguments.old, arguments.preset)
    if refused := report.of("refused"):
        print("\n".join(report.lines()))
        reasons = "\n".join(f"{entry.key}: {entry.text}" for entry in refused)
        raise UserError(f"{arguments.old} cannot be converted, and nothing was written:\n{reasons}")
    try:
        check_text(text)
    except UserError as error:
        raise UserError(f"{arguments.old}: as converted it is not right, and nothing was written:\n{error}") from error

    def write(beside: Path) -> None:
        beside.write_text(text)

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, write)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    print("\n".join([*report.lines(), f"wrote {out}"]))
    return 0


def _checkpoint(arguments: argparse.Namespace) -> int:
    from openmix.convert.checkpoint import convert_checkpoint

    if not arguments.config:
        raise UserError("a checkpoint needs --config, the openmix config whose network it is of")
    for line in convert_checkpoint(arguments.old, arguments.out, arguments.config).lines():
        print(line)
    print(f"wrote {arguments.out}")
    return 0
