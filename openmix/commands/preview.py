"""Write a PNG of the first training batch as each config's task sees it: mixes and their labels, views, or masks."""

import argparse
from pathlib import Path
from typing import Any

from openmix.errors import UserError

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "configs", nargs="+", metavar="CONFIG", help="each gives a row for each of its mix modes, or of its views"
    )
    parser.add_argument("--out", default="preview.png", metavar="FILE.png", help="default: %(default)s")
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="weights for what looks at the network or is made by it (default: those that a run begins with)",
    )
    parser.add_argument("--images", type=int, default=3, metavar="N", help="samples a row (default: %(default)s)")


def main(arguments: argparse.Namespace) -> int:
    """Draw and write the picture."""
    from openmix.engine.picture import draw

    if arguments.images < 1:
        raise UserError(f"--images must be at least 1, got {arguments.images}")
    out = Path(arguments.out)
    if out.suffix.lower() != ".png":
        raise UserError(f"--out must name a .png file, got {arguments.out!r}")
    rows: list[Any] = []
    notes: list[str] = []
    for config in arguments.configs:
        new_rows, new_notes = rows_of(config, arguments.images, arguments.checkpoint)
        if len(arguments.configs) > 1:
            new_rows = [row._replace(title=f"{row.title}   ({Path(config).stem})") for row in new_rows]
        rows += new_rows
        notes += [note for note in new_notes if note not in notes]
    if not rows:
        raise UserError("; ".join(notes) or "none of these configs mixes images")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draw(rows, notes).savefig(out, format="png")
    except OSError as error:
        raise UserError(f"cannot write {arguments.out}: {error.strerror}") from error
    for note in notes:
        print(note)
    print(f"wrote {arguments.out}")
    return 0


def rows_of(config: str, columns: int, checkpoint: str | None = None) -> tuple[list[Any], list[str]]:
    """Return a row for each of a config's modes, as a run would show it in its first epoch, and notes on the others.

    Of a task that learns without labels it is one row: of views, or of reconstructions, by an untrained network where
    no checkpoint is given.
    """
    from openmix.engine.build import open_loader, seed_of
    from openmix.engine.config import load_config
    from openmix.engine.distributed import World
    from openmix.engine.mix_preview import preview_rows
    from openmix.engine.preprocess import Normalize
    from openmix.engine.settings import Preprocessor

    cfg = load_config(config)
    with open_loader(cfg, "train_dataloader", World()) as loader:
        assert loader is not None
        _, batch = next(iter(loader.epoch(0)))
    batch = Normalize(Preprocessor(**cfg.get("data_preprocessor", {}))).batch(batch)
    task = _task_of(cfg, checkpoint)
    rows, notes = preview_rows(task, batch, loader.classes, columns, seed_of(cfg), 0)
    if hasattr(task, "reconstruct"):
        weights = "the untrained network" if checkpoint is None else Path(checkpoint).name
        rows = [row._replace(title=f"{row.title}: {weights}") for row in rows]
    return rows, notes


def _task_of(cfg: Any, checkpoint: str | None) -> Any:
    """Return the config's task; of its network, numbers are made only where a method looks at it."""
    import torch

    from openmix.engine.build import initialise
    from openmix.engine.weights import fitted_weights
    from openmix.registry import build_task
    from openmix.tasks.learned_mixer import LearnedMixer

    task = build_task(cfg.model, device="meta")
    mixers = getattr(task, "mixers", ())
    looks = any(isinstance(m, LearnedMixer) or (m.base or m).needs for m in mixers) or hasattr(task, "reconstruct")
    if checkpoint is None and not looks:
        return task
    task = initialise(cfg, torch.device("cpu"))
    if checkpoint is not None:
        task.load_state_dict(fitted_weights(checkpoint, task).weights)
    return task
