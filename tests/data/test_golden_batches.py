"""Batches stay what they are, bit for bit: figures that were published rest on them, and so does every resumed run.

The hashes were made before anything here was made faster. Only whole numbers are computed, so they hold everywhere.
"""

import hashlib

import pytest
import torch
from torchvision.transforms import v2

from openmix.data import ArraySource, ResidentLoader, Shards, TorchLoader
from openmix.data.transforms import Cutout, Views

FLIP = v2.RandomHorizontalFlip
PIPELINES = {
    "nothing": [],
    "crop": [v2.RandomCrop((16, 12), 2)],
    "crop, flip": [v2.RandomCrop((16, 12), 2), FLIP()],
    "crop, flip, cutout": [v2.RandomCrop((14, 12), (1, 2), fill=(1, 2, 3)), FLIP(0.3), Cutout(5)],
    "flip, crop": [FLIP(), v2.RandomCrop((10, 12))],
    "crop, views": [v2.RandomCrop((16, 12), 2, padding_mode="reflect"), Views([[FLIP()], [v2.RandomCrop(8), FLIP()]])],
    "perhaps": [v2.RandomApply([v2.RandomCrop((16, 12), 1), Cutout(4)], 0.5), v2.RandomSolarize(99, 0.5)],
}
# of ResidentLoader's batches and of TorchLoader's
HASHES = {
    "nothing": ("391c555544b0a898", "391c555544b0a898"),
    "crop": ("8ae69b140446a3f9", "2ed443c4929046e1"),
    "crop, flip": ("10f442eb093f98ee", "0ddf02005a37c51e"),
    "crop, flip, cutout": ("b3bf61c8d4e74415", "ec779c22e8117508"),
    "flip, crop": ("17ff53af99dead8b", "33709eb9eeb28353"),
    "crop, views": ("676ef72b35270b1e", "a8e5e8c65a93b259"),
    "perhaps": ("ce2ad3491d1c5f59", "50f1dd220c62e201"),
}


@pytest.fixture(scope="module")
def source():
    pixels = torch.arange(60 * 3 * 16 * 12, dtype=torch.int64) * 2654435761 % 2**32 >> 24
    return ArraySource(pixels.view(60, 3, 16, 12).to(torch.uint8), torch.arange(60) % 7, list("abcdefg"))


def digest(loader):
    """The hash of an epoch, of the rest of another one, and of an evaluation."""
    batches = [batch for _, batch in [*loader.epoch(0), *loader.epoch(3, start_step=1)]]
    found = hashlib.sha256()
    for batch in [*batches, *loader.evaluate()]:
        for tensor in (*batch.views, batch.labels, batch.index):
            found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    loader.close()
    return found.hexdigest()[:16]


@pytest.mark.parametrize("name", PIPELINES)
def test_resident_loader(name, source):
    assert (
        digest(ResidentLoader(source, 8, pipeline=PIPELINES[name], seed=5, shards=Shards(0, 1, 2))) == HASHES[name][0]
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("name", PIPELINES)
def test_torch_loader(name, workers, source):
    loader = TorchLoader(source, 8, pipeline=PIPELINES[name], num_workers=workers, seed=5, shards=Shards(0, 1, 2))
    assert digest(loader) == HASHES[name][1]
