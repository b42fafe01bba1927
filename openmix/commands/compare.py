"""Train several configs with the same seeds, one after the other, and print a table of the differences."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from openmix.errors import UserError

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="the first is what the others are compared with")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--work-dir", default="work_dirs/compare", help="default: %(default)s")
    parser.add_argument(
        "--split", choices=["val", "test"], default="test",
        help="what the table shows; settings should be chosen on the other one (default: %(default)s)",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Train or continue every run, evaluate, and write ``comparison.json`` and ``comparison.md``."""
    from rich.console import Console
    from rich.progress import Progress

    from openmix.engine.distributed import World
    from openmix.results.comparison import Comparison

    names = [Path(c).stem for c in arguments.configs]
    if len(set(names)) < len(names):
        raise UserError(f"two of the configs have the same file name: {', '.join(names)}")
    if len(set(arguments.seeds)) < len(arguments.seeds):
        raise UserError(f"--seeds names a seed twice: {arguments.seeds}")
    folder, console, world = Path(arguments.work_dir), Console(highlight=False), World()
    paths = dict(zip(names, arguments.configs, strict=True))
    cfgs = {(n, s): _load(c, s, folder / n / f"seed_{s}") for n, c in paths.items() for s in arguments.seeds}
    for (name, _), cfg in cfgs.items():
        if cfg.get(f"{arguments.split}_dataloader") is None:
            raise UserError(f"{name} has no {arguments.split}_dataloader to evaluate; try the other --split")
    runs: dict[str, dict[int, Any]] = {name: {} for name in names}
    with Progress(console=console, disable=not console.is_terminal) as progress:
        for (name, seed), cfg in progress.track(cfgs.items(), description="runs"):
            began = time.perf_counter()
            runs[name][seed] = metrics = _run(cfg, paths[name], arguments.split, world)
            seconds = time.perf_counter() - began
            console.print(f"{name}, seed {seed}: top1 {metrics['top1']:.2f} % in {seconds:.0f} s")
    comparison = Comparison(runs, arguments.split)
    (folder / "comparison.json").write_text(json.dumps(runs, indent=2) + "\n")
    (folder / "comparison.md").write_text(comparison.markdown())
    console.print(comparison.table())
    return 0


def _load(config: str, seed: int, work_dir: Path) -> Any:
    from openmix.engine.config import load_config

    return load_config(config, {"randomness.seed": seed, "work_dir": str(work_dir)})


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _run(cfg: Any, config: str, split: str, world: Any) -> dict[str, Any]:
    """Train a config, continue it or find it finished, and evaluate its last checkpoint."""
    from openmix.engine.config_hash import config_hash
    from openmix.engine.records import describe_run, write_json
    from openmix.engine.run import test, train

    # what an earlier call left is taken up if it is of this config and this code, and moved aside if not
    now, identity = describe_run(config_hash(cfg), config, cfg.randomness.seed, world), ("config_hash", "git_commit")
    before = _read_record(Path(cfg.work_dir) / "run.json")
    same = all(before.get(key) == now[key] for key in identity) and "dirty" not in str(now["git_commit"])
    train(cfg, config, world, resume=same, quiet=True)
    metrics = test(cfg, str(Path(cfg.work_dir) / "checkpoints" / "last.pth"), world, split)
    if split == "test":  # where 'openmix table --record' looks for a run's figures on this split
        write_json(Path(cfg.work_dir) / "test.json", metrics)
    return metrics
