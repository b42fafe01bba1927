"""The data sets that a folder or a config names, for the subcommands of ``openmix data``."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openmix.errors import UserError

__all__ = ["sets_of_config", "sets_of_folder"]

CONFIGS = {".py", ".json", ".yaml", ".yml"}  # what mmengine reads
KEYS = ("train_dataloader", "val_dataloader", "test_dataloader")


def sets_of_config(path: str) -> dict[str, Any]:
    """Return the data sets of a config by their loader's name, ``train``, ``val``, ``test``, each set once.

    Raises:
        UserError: the config is wrong, or a data set cannot be opened.
    """
    from openmix.engine.config import load_config
    from openmix.registry import DATASETS, build

    _check_is_config(Path(path))
    cfg = load_config(path)
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for key in KEYS:
        parts = list(_datasets(cfg.get(key)))
        for number, dataset in enumerate(parts):
            if (spelling := json.dumps(dataset, sort_keys=True, default=str)) not in seen:
                seen.add(spelling)
                name = key.removesuffix("_dataloader")
                found[f"{name}{number}" if len(parts) > 1 else name] = build(dataset, DATASETS)
    return found


def _check_is_config(path: Path) -> None:
    """Raise UserError for a file that is no config, as what it takes to be one would hide what it is."""
    from openmix.data.sources.folder import IMAGE_SUFFIXES

    suffix = path.suffix.lower()
    if suffix == ".rec":
        raise UserError(
            f"{path} is a RecordIO file, and a folder or a config is wanted: 'openmix rec verify {path}' finds what is "
            f'damaged, and a config may name it by dataset=dict(type="RecordIO", path="{path}")'
        )
    if suffix in IMAGE_SUFFIXES:
        raise UserError(f"{path} is an image, and a folder or a config is wanted, such as {path.parent}")
    if suffix not in CONFIGS:
        raise UserError(f"{path} is neither a folder nor a config file, whose name ends in .py")


def _datasets(loader: Any) -> Iterator[dict[str, Any]]:
    """Yield the data sets of a loader, and of the loaders it is made of."""
    if isinstance(loader, Mapping):
        if isinstance(loader.get("dataset"), Mapping):
            yield dict(loader["dataset"])
        for part in loader.get("loaders") or ():
            yield from _datasets(part)


def sets_of_folder(path: Path, by_class: bool) -> dict[str, Any]:
    """Return the data sets in a folder: a cache's, or files.

    Args:
        path: the folder.
        by_class: read one folder a class, of each split where the folder holds nothing but splits; else all images
            below the folder are one set without classes.

    Raises:
        UserError: there is no image, or no classes where they are wanted.
    """
    import torch

    from openmix.data.sources import CachedImages, FileSource, ImageFolder
    from openmix.data.sources.cached import HEADER
    from openmix.data.sources.files import PathList
    from openmix.data.sources.folder import SPLITS, class_folders, walk_images

    if (path / HEADER).is_file():
        return {"": CachedImages(str(path))}
    if by_class:
        inner = class_folders(path)
        splits = inner if inner and SPLITS.issuperset(inner) else []
        return {split: ImageFolder(str(path), split) for split in splits} or {"": ImageFolder(str(path))}
    names = [str(Path(folder, name)) for folder, images in walk_images(path) for name in images]
    if not names:
        raise UserError(f"no image below {path}")
    return {"": FileSource(PathList(str(path), names), torch.zeros(len(names), dtype=torch.int64), ("",))}
