"""Train the model that a config file describes."""

import argparse
import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from openmix.commands import process
from openmix.commands._importing import Importing
from openmix.commands._options import add_config_options, overrides
from openmix.errors import UserError

__all__ = ["add_arguments", "main", "nothing_to_save"]

EXIT_STOPPED = 75


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_options(parser)
    parser.add_argument("--work-dir", help="where results go; default work_dirs/CONFIG_STEM")
    parser.add_argument(
        "--resume", nargs="?", const=True, default=None, metavar="CHECKPOINT",
        help="continue CHECKPOINT, or without a value the work dir's newest good one (afresh where there is none)",
    )  # fmt: skip
    parser.add_argument("--amp", choices=["bf16", "fp16"], help="mixed precision")
    parser.add_argument(
        "--deterministic", action="store_true",
        help="deterministic algorithms alone (randomness.deterministic): equal runs on equal hardware, GPUs too",
    )  # fmt: skip
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases as well")
    parser.add_argument(
        "--config-hash", metavar="HASH",
        help="begin only if this is the config's hash, as a study's manifest and run.json have it: a file that was "
        "changed meanwhile then ends with exit code 2, and nothing is touched",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Train to the end and return 0."""
    with nothing_to_save():
        return _train(arguments)


def _train(arguments: argparse.Namespace) -> int:
    with Importing():
        from openmix.engine.build import timeout_of
        from openmix.engine.config import load_config
        from openmix.engine.config_hash import config_hash
        from openmix.engine.distributed import join_world
        from openmix.engine.peers import peers_watched
        from openmix.engine.run import train

    changed = overrides(arguments)
    if arguments.amp:
        changed["optim_wrapper.amp"] = arguments.amp
    if arguments.deterministic:
        changed["randomness.deterministic"] = True
    if arguments.work_dir:
        changed["work_dir"] = arguments.work_dir
    cfg = load_config(arguments.config, changed)
    if arguments.config_hash not in (None, now := config_hash(cfg)):
        raise UserError(
            f"{arguments.config} is not the config that was asked for: its hash is {now}, not {arguments.config_hash}; "
            "where it is a study's, 'openmix grid make' writes it and its manifest anew"
        )
    if arguments.wandb:
        cfg.vis_backends = [*(cfg.get("vis_backends") or []), {"type": "WandbVisBackend"}]
    resume = arguments.resume if arguments.resume is not None else cfg.get("resume", False)
    world = join_world(arguments.launcher, timeout_of(cfg))
    with peers_watched(world):
        train(cfg, arguments.config, world, resume)
    return 0


@contextlib.contextmanager
def nothing_to_save() -> Iterator[None]:
    """Let a stop signal end the process at once, where there is nothing to save: before the first step and afterwards.

    Training itself has its own way to stop, after the step that it is in. Once it is over its exit code is settled: a
    second signal, which schedulers like to send, must not replace it while the interpreter takes its time to end. In a
    process that goes on with other things, signals are then what they were before.
    """
    code, said = EXIT_STOPPED, "stopped by {} before the first step\n"

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, said.format(signal.Signals(number).name).encode())
        os._exit(code)  # whatever is under way, and catches exceptions

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
        code, said = 0, ""
    except BaseException as error:
        code, said = getattr(error, "exit_code", 1), ""
        raise
    finally:
        for number, handler in before.items():
            if not process.ends_with_command or handler is not signal.SIG_DFL:
                signal.signal(number, handler)
