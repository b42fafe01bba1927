"""Evaluate a checkpoint: top-1, top-5, negative log-likelihood and calibration error."""

import argparse
from pathlib import Path

from openmix.commands._importing import Importing
from openmix.commands._options import add_config_options, overrides
from openmix.errors import UserError

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_options(parser)
    parser.add_argument("checkpoint", help="file that training wrote, such as work_dirs/NAME/checkpoints/last.pth")
    parser.add_argument("--out", metavar="FILE.json", help="write the figures to this file as well")
    parser.add_argument("--split", choices=["val", "test"], default="val", help="which loader of the config to use")


def main(arguments: argparse.Namespace) -> int:
    """Evaluate, print and perhaps write the figures."""
    with Importing():
        from openmix.engine.build import timeout_of
        from openmix.engine.config import load_config
        from openmix.engine.distributed import join_world, main_only
        from openmix.engine.log import spell_metrics
        from openmix.engine.peers import peers_watched
        from openmix.engine.records import write_json
        from openmix.engine.run import test

    cfg = load_config(arguments.config, overrides(arguments))

    def report() -> None:
        print(spell_metrics(metrics))
        if arguments.out:
            try:
                Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
                write_json(Path(arguments.out), metrics)
            except OSError as error:
                raise UserError(f"cannot write {arguments.out}: {error}") from error

    world = join_world(arguments.launcher, timeout_of(cfg))
    with peers_watched(world):
        metrics = test(cfg, arguments.checkpoint, world, arguments.split)
        main_only(world, report)
    return 0
