#!/usr/bin/env python
"""Draw ``docs/selfsup.jpg`` from two photographs that scikit-learn ships: ``python docs/make_selfsup.py``."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image
from torch.nn import functional as F
from torchvision.transforms import v2

from openmix.data.transforms import CropMixPair, ScaleMix
from openmix.ops.masked_patches import draw_masking
from openmix.ops.random import derive_seed, generator_for

SIDE, GRID, GAP, TOP = 154, 14, 6, 40  # as 224 pixels in patches of 16, patches are a 14th of an image
MAE = ("MAE: a crop ...", "... and what\nthe network sees")
PHOTOS = ("china.jpg", "flower.jpg")
DRAWS = 2  # rows a photograph

COLOURS = [
    v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
    v2.RandomGrayscale(0.2),
    v2.RandomApply([v2.GaussianBlur(15, sigma=(0.1, 2.0))], p=0.5),
    v2.RandomHorizontalFlip(),
]


def masked(pixels: torch.Tensor) -> torch.Tensor:
    """Return an image of which three quarters of the patches are grey."""
    removed = draw_masking(1, GRID**2, 0.75, generator_for(torch.initial_seed(), "mask")).removed
    hidden = F.interpolate(removed.view(1, 1, GRID, GRID).float(), pixels.shape[1:])[0].bool()
    return pixels.masked_fill(hidden, 128)


COLUMNS: dict[str, Any] = {
    "photograph": None,
    "MoCo v2:\nthe key, or a query": v2.Compose([v2.RandomResizedCrop(SIDE, (0.2, 1.0)), *COLOURS]),
    "ScaleMix:\nthe query": ScaleMix(SIDE, COLOURS),
    "CropMix:\nthe query": CropMixPair(SIDE, COLOURS),
    MAE[0]: v2.RandomResizedCrop(SIDE, (0.2, 1.0)),
    MAE[1]: v2.Compose([v2.RandomResizedCrop(SIDE, (0.2, 1.0)), masked]),
}


def cell(photo: torch.Tensor, name: str, row: int) -> Image.Image:
    """Return one picture of SIDE x SIDE."""
    transform = COLUMNS[name]
    torch.manual_seed(derive_seed(row, MAE[0] if name in MAE else name))  # of a masked crop, the crop is shown, too
    if transform is None:
        pixels = v2.functional.resize(v2.functional.center_crop(photo, [min(photo.shape[1:])]), [SIDE, SIDE])
    else:
        pixels = transform(photo)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def main() -> None:
    """Write the picture beside this file."""
    photos = [torch.from_numpy(np.array(load_sample_image(name))).permute(2, 0, 1) for name in PHOTOS]
    rows = [photo for photo in photos for _ in range(DRAWS)]
    font = ImageFont.load_default(14)
    width = len(COLUMNS) * (SIDE + GAP) + GAP
    page = Image.new("RGB", (width, TOP + len(rows) * (SIDE + GAP)), "white")
    draw = ImageDraw.Draw(page)
    for column, name in enumerate(COLUMNS):
        x = GAP + column * (SIDE + GAP)
        draw.text((x + SIDE / 2, TOP / 2), name, "black", font, anchor="mm", align="center")
        for row, photo in enumerate(rows):
            if column or row % DRAWS == 0:
                page.paste(cell(photo, name, row), (x, TOP + row * (SIDE + GAP)))
    page.save(Path(__file__).with_name("selfsup.jpg"), quality=82)


if __name__ == "__main__":
    main()
