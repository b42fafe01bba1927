"""Write a PNG of images of the first training batch as each config mixes them, with labels and lambda."""

import argparse
from pathlib import Path
from typing import Any

from openmix.errors import UserError

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="each gives a row for each of its mix modes")
    parser.add_argument("--out", default="preview.png", metavar="FILE.png", help="default: %(default)s")
    parser.add_argument("--images", type=int, default=8, metavar="N", help="images a row (default: %(default)s)")


def main(arguments: argparse.Namespace) -> int:
    """Draw and write the picture."""
    from openmix.results.preview import draw_grid

    if arguments.images < 1:
        raise UserError(f"--images must be at least 1, got {arguments.images}")
    if Path(arguments.out).suffix.lower() != ".png":
        raise UserError(f"--out must name a .png file, got {arguments.out!r}")
    rows: list[tuple[str, list[Any]]] = []
    classes: tuple[str, ...] = ()
    for config in arguments.configs:
        new_rows, new_classes = mixed_rows(config, arguments.images)
        if classes and new_classes != classes:
            raise UserError(f"{config} has other classes than {arguments.configs[0]}; draw them one by one")
        classes = new_classes
        rows += new_rows
    if not rows:
        raise UserError("none of these configs mixes images: a method that mixes inside a network has no picture")
    try:
        draw_grid(rows, classes, Path(arguments.out))
    except OSError as error:
        raise UserError(f"cannot write {arguments.out}: {error.strerror}") from error
    print(f"wrote {arguments.out}")
    return 0


def mixed_rows(config: str, columns: int) -> tuple[list[tuple[str, list[Any]]], tuple[str, ...]]:
    """Return each of a config's modes that mix images with ``columns`` mixes of one batch, and the class names."""
    from openmix.engine.build import build_loader, seed_of
    from openmix.engine.config import load_config
    from openmix.engine.distributed import World
    from openmix.ops.random import generator_for
    from openmix.registry import build_task

    cfg, world = load_config(config), World()
    loader = build_loader(cfg, "train_dataloader", world)
    assert loader is not None
    _, batch = next(iter(loader.epoch(0)))
    loader.close()
    images = batch.images.float() / 255 if not batch.images.is_floating_point() else batch.images
    columns, seed = min(columns, len(images)), seed_of(cfg)
    rows = []
    for mixer in getattr(build_task(cfg.model, device="meta"), "mixers", []):
        if mixer.kind == "input" and not mixer.needs:
            draws = (generator_for(seed, "preview", i) for i in range(columns))
            rows.append((mixer.name, [mixer(images, batch.labels, generator=g) for g in draws]))
    return rows, loader.classes
