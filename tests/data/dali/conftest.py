"""Photographs made here, all that a folder may hold."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openmix.data.sources.files import FileSource, PathList


def photograph(seed: int, width: int = 90, height: int = 70, mode: str = "RGB") -> Image.Image:
    """Return a smooth picture with a little noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height), 3)
    return Image.fromarray(np.asarray(coarse) ^ rng.integers(0, 8, (height, width, 3), dtype=np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def source_of(folder: Path, contents: dict[str, bytes]) -> FileSource:
    """Write files and return the set of them, each of a class of its own."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return FileSource(PathList(str(folder), contents), torch.arange(len(contents)), list(contents))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> FileSource:
    """23 JPEGs of all sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    sizes = np.random.default_rng(0).integers(40, 160, (23, 2)).tolist()
    return source_of(folder, {f"{i:02}.jpg": encoded(photograph(i, *sizes[i])) for i in range(23)})
