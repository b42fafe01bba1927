#!/usr/bin/env python
"""Draw ``docs/cropmix.jpg`` from two photographs that scikit-learn ships: ``python docs/make_cropmix.py``."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

from openmix.ops.random import derive_seed
from openmix.transforms import CropMix

SIDE, GAP, TOP = 150, 6, 26
PHOTOS = ("china.jpg", "flower.jpg")
DRAWS = 12
RANKS = {"the most even\nof 12 draws": 0, "the middle one\nof 12 draws": DRAWS // 2}  # by the largest share


def cropmix(number: int, operation: int, inter_aug: bool) -> CropMix:
    """Return CropMix with the authors' other defaults."""
    return CropMix(number=number, operation=operation, inter_aug=inter_aug, size=SIDE)


COLUMNS = {
    "photograph": None,
    "one crop": v2.RandomResizedCrop(SIDE),
    "another": v2.RandomResizedCrop(SIDE),
    "2, mixup": cropmix(2, 0, False),
    "3, mixup": cropmix(3, 0, False),
    "4, mixup": cropmix(4, 0, False),
    "4, mixup, inter_aug": cropmix(4, 0, True),
    "2, cutmix": cropmix(2, 1, False),
    "4, cutmix": cropmix(4, 1, False),
    "4, cutmix, inter_aug": cropmix(4, 1, True),
}


def cell(photo: torch.Tensor, name: str, seed: int, rank: int) -> Image.Image:
    """Return one picture of SIDE x SIDE."""
    transform = COLUMNS[name]
    torch.manual_seed(seed)
    if transform is None:
        pixels = v2.functional.resize(v2.functional.center_crop(photo, [min(photo.shape[1:])]), [SIDE, SIDE])
    elif isinstance(transform, CropMix):
        plans = [transform.make_params([photo])["plan"] for _ in range(DRAWS)]
        plans.sort(key=lambda plan: max(view.weight for view in plan.views if view))
        pixels = transform.transform(photo, {"plan": plans[rank]})
    else:
        pixels = transform(photo)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def main() -> None:
    """Write the picture beside this file."""
    photos = [torch.from_numpy(np.array(load_sample_image(name))).permute(2, 0, 1) for name in PHOTOS]
    rows = [(photo, rank) for photo in photos for rank in RANKS.values()]
    font = ImageFont.load_default(14)
    width = len(COLUMNS) * (SIDE + GAP) + GAP
    page = Image.new("RGB", (width, TOP + len(rows) * (SIDE + GAP)), "white")
    draw = ImageDraw.Draw(page)
    for column, name in enumerate(COLUMNS):
        x = GAP + column * (SIDE + GAP)
        draw.text((x + SIDE / 2, TOP / 2), name, "black", font, anchor="mm")
        for row, (photo, rank) in enumerate(rows):
            y = TOP + row * (SIDE + GAP)
            if column == 0 and row % len(RANKS):
                text = "above:\n{}\n\nhere:\n{}".format(*RANKS)
                draw.text((x + SIDE / 2, y + SIDE / 2), text, "black", font, anchor="mm", align="center")
            else:
                page.paste(cell(photo, name, derive_seed(row, name), rank), (x, y))
    page.save(Path(__file__).with_name("cropmix.jpg"), quality=82)


if __name__ == "__main__":
    main()
