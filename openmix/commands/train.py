"""Train the model that a config file describes."""

import argparse
import sys

from openmix.commands._options import add_config_options, overrides

__all__ = ["add_arguments", "main"]

EXIT_FAILED = 1
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
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases as well")


def main(arguments: argparse.Namespace) -> int:
    """Train; return 0, or 75 if a signal stopped the run after it had saved."""
    from openmix.engine.config import load_config
    from openmix.engine.distributed import join_world, leave_world
    from openmix.engine.run import train
    from openmix.engine.step import NonFiniteError
    from openmix.engine.trainer import Stopped

    changed = overrides(arguments)
    if arguments.amp:
        changed["optim_wrapper.amp"] = arguments.amp
    if arguments.work_dir:
        changed["work_dir"] = arguments.work_dir
    cfg = load_config(arguments.config, changed)
    if arguments.wandb:
        cfg.vis_backends = [*(cfg.get("vis_backends") or []), {"type": "WandbVisBackend"}]
    resume = arguments.resume if arguments.resume is not None else cfg.get("resume", False)
    world = join_world(arguments.launcher)
    try:
        train(cfg, arguments.config, world, resume)
    except Stopped:
        return EXIT_STOPPED
    except NonFiniteError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        leave_world()
    return 0
