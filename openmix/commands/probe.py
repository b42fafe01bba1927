"""Say what a checkpoint's features are worth: by kNN, by a linear classifier, by fine-tuning."""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmix.commands._importing import Importing
from openmix.commands._options import Overrides, add_config_options, overrides
from openmix.errors import UserError

if TYPE_CHECKING:
    from openmix.engine.distributed import World

__all__ = ["add_arguments", "main"]

QUIET = 15.0  # seconds between lines of progress where there is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_options(parser)
    parser.add_argument("checkpoint", help="file that training with CONFIG wrote, or other weights of its trunk")
    parser.add_argument("--knn", action="store_true", help="weighted vote of the nearest training images")
    parser.add_argument("--k", type=int, help="how many vote (default: the config's val_cfg.knn, else 200)")
    parser.add_argument("--temperature", type=float, help="of their votes (default: the config's, else 0.1)")
    parser.add_argument(
        "--features",
        choices=["backbone", "projection"],
        help="by which kNN goes (default: the config's, else backbone)",
    )
    parser.add_argument("--linear", action="store_true", help="logistic regression on the trunk's features")
    parser.add_argument(
        "--l2",
        type=float,
        metavar="X",
        help="its penalty X / 2 |w|^2, features having mean 0 and deviation 1 (default: chosen on a fifth of the "
        "training set)",
    )
    parser.add_argument(
        "--baselines", action="store_true", help="the same of the untrained network, and kNN of the pixels themselves"
    )
    parser.add_argument("--split", choices=["val", "test"], default="val", help="which loader's images are classified")
    parser.add_argument("--finetune", metavar="CONFIG2", help="train CONFIG2 from the checkpoint's trunk")
    parser.add_argument("--work-dir", metavar="D", help="of fine-tuning (default: RUN_CONFIG2 beside the run)")
    parser.add_argument("--resume", action="store_true", help="go on with a fine-tuning that was stopped")
    parser.add_argument(
        "--finetune-options", nargs="+", action=Overrides, default={}, metavar="KEY=VALUE",
        help="override keys of CONFIG2, as --cfg-options does of CONFIG",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE.json", help="write the figures to this file as well")


def main(arguments: argparse.Namespace) -> int:
    """Find the figures, print and perhaps write them."""
    _check(arguments)
    with Importing():
        from openmix.engine.build import timeout_of
        from openmix.engine.config import load_config
        from openmix.engine.distributed import join_world, main_only
        from openmix.engine.peers import peers_watched

    cfg = load_config(arguments.config, overrides(arguments))
    second = _finetuning(arguments) if arguments.finetune else None  # checked now, and not after the other figures
    wanted = _wanted(arguments, cfg)
    world = join_world(arguments.launcher, timeout_of(cfg))
    with peers_watched(world):
        figures = _probe(arguments, cfg, wanted, world) if wanted else {"checkpoint": arguments.checkpoint}
        main_only(world, lambda: _report(arguments, figures))
        if second is not None:
            from openmix.commands.train import nothing_to_save
            from openmix.engine.run import train

            with nothing_to_save():
                metrics = train(second, arguments.finetune, world, arguments.resume)
            figures["finetune"] = {"config": arguments.finetune, "work_dir": second.work_dir, **metrics}
            main_only(world, lambda: _report_finetuning(arguments, figures))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse to do nothing, and options of what is not asked for.

    Raises:
        UserError: says which.
    """
    if not (arguments.knn or arguments.linear or arguments.finetune):
        raise UserError("say what to find out: --knn, --linear or --finetune CONFIG2, or several of them")
    belongs = {
        "--knn": (arguments.knn, ("k", "temperature", "features")),
        "--linear": (arguments.linear, ("l2",)),
        "--finetune": (arguments.finetune, ("work_dir", "resume", "finetune_options")),
        "--knn or --linear": (arguments.knn or arguments.linear, ("baselines",)),
    }
    for what, (asked, options) in belongs.items():
        given = [f"--{name.replace('_', '-')}" for name in options if getattr(arguments, name) not in (None, False, {})]
        if given and not asked:
            raise UserError(f"{' and '.join(given)} would change nothing without {what}")
    if arguments.l2 is not None and not 0 < arguments.l2 < float("inf"):
        raise UserError(f"--l2 must be above 0, got {arguments.l2}")


def _wanted(arguments: argparse.Namespace, cfg: Any) -> Any:
    """Return what is to be found out of the features; None for nothing."""
    from openmix.engine.probe import Wanted, wanted_knn

    given = {name: getattr(arguments, name) for name in ("k", "temperature", "features")}
    knn = wanted_knn(cfg, given) if arguments.knn else None
    return Wanted(knn, arguments.linear, arguments.l2, arguments.baselines) if knn or arguments.linear else None


def _finetuning(arguments: argparse.Namespace) -> Any:
    """Return the config of fine-tuning."""
    from openmix.engine.config import load_config

    checkpoint = Path(arguments.checkpoint)
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    changed = dict(arguments.finetune_options)
    if arguments.seed is not None:
        changed["randomness.seed"] = arguments.seed
    prefix = f"{run}_" if run.name not in ("", "..") else "finetune_"
    work_dir = arguments.work_dir or prefix + Path(arguments.finetune).stem
    return load_config(arguments.finetune, {**changed, "load_from": str(checkpoint), "work_dir": str(work_dir)})


def _probe(arguments: argparse.Namespace, cfg: Any, wanted: Any, world: "World") -> dict[str, Any]:
    from openmix.engine.probe import probe

    return probe(cfg, arguments.checkpoint, world, wanted, _progress(world), arguments.split)


def _progress(world: "World") -> Any:
    """Return what shows progress on process 0: on a terminal a bar with the time that is left, else lines."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not world.is_main)

    @contextlib.contextmanager
    def show(name: str, total: int) -> Iterator[Callable[[int], object]]:
        if console.is_terminal:
            with Progress(console=console, transient=True) as bar:
                task = bar.add_task(name, total=total)
                yield lambda more: bar.advance(task, more)
            return
        began = said = time.monotonic()
        done = 0

        def advance(more: int) -> None:
            nonlocal said, done
            done, now = min(done + more, total), time.monotonic()
            if now - said > QUIET and done < total:
                said = now
                console.print(f"{name}: {done:,} of {total:,}, ETA {(now - began) / done * (total - done):.0f} s")

        yield advance

    return show


def _report(arguments: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    if "rows" in figures:
        from rich.console import Console

        Console(highlight=False).print(_table(figures), crop=False)
    _write(arguments, figures)


def _report_finetuning(arguments: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    from openmix.engine.log import spell_metrics

    found = figures["finetune"]
    said = spell_metrics(found) if "top1" in found else "CONFIG2 validates nothing"
    print(f"fine-tuned by {found['config']} in {found['work_dir']}: {said}")
    _write(arguments, figures)


def _table(figures: Mapping[str, Any]) -> Any:
    """Return the figures as a table, with what they are of."""
    from rich.table import Table

    knn, rows = figures.get("knn"), figures["rows"]
    damaged = f", {figures['damaged']} of all damaged and replaced" if figures.get("damaged") else ""
    table = Table(
        title=figures["checkpoint"], title_justify="left", caption_justify="left",
        caption=f"top-1 in per cent of {figures['n']:,} images ({figures['split']}); the training set has "
        f"{figures['bank_n']:,}{damaged}",
    )  # fmt: skip
    table.add_column("features")
    table.add_column("values", justify="right")
    if knn:
        table.add_column(f"kNN (k={knn['k']}, T={knn['temperature']:g})", justify="right")
    linear = any("top1_linear" in row for row in rows)
    if linear:
        table.add_column("linear", justify="right")
        table.add_column("L2", justify="right")
    for row in rows:
        name = row["network"] + ("" if row["features"] == "pixels" else f", {row['features']}")
        cells = [name, f"{row['dim']:,}"]
        cells += [f"{row['top1_knn']:.2f}" if "top1_knn" in row else ""] if knn else []
        has_linear = "top1_linear" in row
        cells += [f"{row['top1_linear']:.2f}" if has_linear else "", f"{row['l2']:g}" if has_linear else ""] * linear
        table.add_row(*cells)
    return table


def _write(arguments: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    if arguments.out:
        from openmix.engine.records import write_json

        try:
            Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
            write_json(Path(arguments.out), figures)
        except OSError as error:
            raise UserError(f"cannot write {arguments.out}: {error}") from error
