"""Options that several subcommands share."""

import argparse
from collections.abc import Sequence
from typing import Any

__all__ = ["add_config_options", "overrides"]

LONGEST = 20_000  # characters of a value: mmengine counts the brackets before each, anew for each


class Overrides(argparse.Action):
    """mmengine's parser of ``KEY=VALUE ...``, imported where there is something to parse; says where it fails."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the values to what is overridden already."""
        from mmengine.config import DictAction

        if long := [value for value in values or () if len(value) > LONGEST]:
            raise argparse.ArgumentError(self, f"takes up to {LONGEST:,} characters a KEY=VALUE, got {long[0][:60]}...")
        try:
            DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)  # type: ignore[arg-type]
        except (ValueError, AssertionError, IndexError, RecursionError) as error:
            raise argparse.ArgumentError(self, f"takes KEY=VALUE ..., got {values}") from error


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add CONFIG, ``--cfg-options``, ``--seed`` and ``--launcher``."""
    parser.add_argument("config", help="config file (Python: run only what you trust)")
    parser.add_argument(
        "--cfg-options", nargs="+", action=Overrides, default={}, metavar="KEY=VALUE",
        help="override keys of the config, for example train_cfg.max_epochs=2",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="the run's seed (randomness.seed)")
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm"], default="none",
        help="whose environment variables describe the processes (tools/dist_train.sh sets this)",
    )  # fmt: skip
    parser.add_argument("--local-rank", "--local_rank", type=int, help=argparse.SUPPRESS)  # old launchers pass it


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options override in the config, by dotted key."""
    changed = dict(arguments.cfg_options)
    if arguments.seed is not None:
        changed["randomness.seed"] = arguments.seed
    return changed
