"""Say where the time of a config's training steps goes: phases, operators, memory.

Trains for a few steps as the config says, with its batches, images and network, in a folder that is thrown away. What
comes now and then, a record or a checkpoint, is timed once and shown apart; nothing is validated.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmix.commands._options import add_config_options, overrides
from openmix.errors import UserError

if TYPE_CHECKING:
    from openmix.engine.distributed import World

__all__ = ["add_arguments", "main"]

LOCAL = ("LocalVisBackend", "TensorboardVisBackend")  # backends that tell nobody else of a run
MOST_TRACED = 5  # steps; each is a megabyte or more of trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_options(parser)
    parser.add_argument("--amp", choices=["bf16", "fp16"], help="mixed precision")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="steps to time; default 20")
    parser.add_argument(
        "--warmup", type=int, default=10, metavar="N",
        help="steps before, in which networks are compiled and kernels chosen; default 10",
    )  # fmt: skip
    parser.add_argument("--top", type=int, default=10, metavar="N", help="operators to show; default 10, at most 30")
    parser.add_argument(
        "--out", metavar="DIR", help="keep the tables, as text and JSON, and a trace for Perfetto or Chrome in DIR"
    )


def main(arguments: argparse.Namespace) -> int:
    """Train for some steps and print the table."""
    for name in ("steps", "warmup", "top"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} must be at least 1, got {getattr(arguments, name)}")
    from openmix.engine.profile_table import OPERATORS

    if arguments.top > OPERATORS:
        raise UserError(f"--top must be at most {OPERATORS}, got {arguments.top}")
    from openmix.engine.build import timeout_of
    from openmix.engine.config import load_config
    from openmix.engine.distributed import join_world, main_only
    from openmix.engine.peers import peers_watched

    changed = overrides(arguments)
    if arguments.amp:
        changed["optim_wrapper.amp"] = arguments.amp
    cfg = load_config(arguments.config, changed)
    world = join_world(arguments.launcher, timeout_of(cfg))
    with peers_watched(world):
        main_only(world, lambda: _make(arguments.out))
        with _passing_folder(world) as folder:
            _train(_short(cfg, arguments, folder), arguments.config, world)
            main_only(world, lambda: _report(arguments, Path(folder) / "profile"))
    return 0


def _make(out: str | None) -> None:
    """Make the folder to write to, now and not after the run."""
    try:
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to --out {out}: {error.strerror}") from error


@contextlib.contextmanager
def _passing_folder(world: "World") -> Iterator[str]:
    """Yield one folder for all processes, which is gone afterwards."""
    from openmix.engine.distributed import of_main

    with tempfile.TemporaryDirectory(prefix="openmix-profile-") if world.is_main else contextlib.nullcontext() as own:
        yield str(of_main(own))


def _train(short: Any, path: str, world: "World") -> None:
    """Train, and speak of no file that is gone by the time that somebody reads of it: stdout is for the table."""
    from openmix.engine.nonfinite import NonFiniteError
    from openmix.engine.run import train

    if world.is_main and sys.stderr.isatty():  # a bar that moves would be timed with the steps
        print(f"training for {short.train_cfg['max_iters']} steps", file=sys.stderr)
    try:
        train(short, path, world, quiet=True)
    except NonFiniteError as error:
        found = error.__cause__  # without where the run, whose folder is thrown away, has left a key
        if not isinstance(found, NonFiniteError) or not found.contexts:
            raise
        raise NonFiniteError(f"{found}; 'openmix train {path}' would leave a key to replay its batch") from error


def _short(cfg: Any, arguments: argparse.Namespace, folder: str) -> Any:
    """Return the config of a run that is just long enough."""
    from mmengine.config import Config

    from openmix.engine.build import without_weights
    from openmix.engine.profiling import ProfilerHook

    active = min(arguments.steps, MOST_TRACED)
    # what comes once, after the steps that are timed, would come again as many steps later: not before all are traced
    wait = max(arguments.warmup, active + 2 - arguments.steps)
    plan = {"wait": wait, "timed": arguments.steps, "warmup": 1, "active": active}
    steps = ProfilerHook(**plan).steps + 1  # so that the last step that is recorded ends before the run does
    short = Config(cfg.to_dict())
    short.train_cfg = {**short.train_cfg, "max_epochs": None, "max_iters": steps, "val_interval": steps}
    short.val_dataloader = short.load_from = None
    short.work_dir, short.resume = folder, False
    short.model = without_weights(short.model)
    short.vis_backends = [backend for backend in short.get("vis_backends") or [] if backend["type"] in LOCAL]
    others = [hook for hook in short.get("custom_hooks") or [] if hook["type"] != "ProfilerHook"]
    short.custom_hooks = [*others, {"type": "ProfilerHook", **plan}]
    once = {"interval": wait + arguments.steps}  # after the last step that is timed
    short.default_hooks = {"logger": once, "checkpoint": {**once, "by_epoch": False}}
    return short


def _report(arguments: argparse.Namespace, found: Path) -> None:
    from rich.console import Console

    from openmix.engine.files import writing
    from openmix.engine.profile_table import as_table

    (path,) = found.glob("table_*.json")
    console = Console(highlight=False)
    with console.capture() as table:
        console.print(as_table(json.loads(path.read_text()), arguments.top))
    lines = [table.get().rstrip("\n")]
    if arguments.out:
        with writing(arguments.out):
            shutil.copytree(found, arguments.out, dirs_exist_ok=True)
        lines.append(f"wrote {', '.join(sorted(file.name for file in found.iterdir()))} to {arguments.out}")
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:  # 'openmix profile CONFIG | head'
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
