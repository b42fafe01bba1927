"""Loaders beside their rivals: all load the same images, the same way, and the ratios are right."""

import pickle
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import pil_to_tensor

from openmix.bench import loaders
from openmix.bench.loaders import InMemory, cifar10_images, customary, report
from openmix.bench.report import Options
from openmix.data import Synthetic

CPU = torch.device("cpu")


def test_torchvisions_data_set_gives_the_same_images():
    source = Synthetic(10, (3, 32, 32), 12)
    pictures = InMemory(source, None)
    assert len(pictures) == 12
    for i, (picture, label) in enumerate(pictures):
        assert picture.mode == "RGB"
        assert torch.equal(pil_to_tensor(picture), source.images[i])
        assert label == source.labels[i]


@pytest.mark.parametrize("name", customary())
def test_customary_pipelines_give_what_ours_do(name):
    """A constant image stays what normalisation makes of it, but for the padding."""
    picture = InMemory(_constant(200), customary()[name])[0][0]
    column = torch.tensor([loaders.MEAN, loaders.STD])[:, :, None, None]
    inside, outside = (200 / 255 - column[0]) / column[1], -column[0] / column[1]
    assert picture.shape == (3, 32, 32) and picture.dtype == torch.float32
    near = torch.minimum((picture - inside).abs(), (picture - outside).abs())
    assert near.max() < 1e-5
    assert (picture - inside).abs()[:, 4:28, 4:28].max() < 1e-5


def _constant(value: int) -> Synthetic:
    source = Synthetic(10, (3, 32, 32), 2)
    source.images.fill_(value)
    return source


def test_all_load_the_same_number_of_images():
    with ExitStack() as stack:
        epochs = loaders.contestants(Synthetic(10, (3, 32, 32), 1000), CPU, stack)
        assert {name: epoch() for name, epoch in epochs.items()} == dict.fromkeys(epochs, 1000)
        assert sum(name.startswith(loaders.RIVAL) for name in epochs) == 3


def test_ratios_are_to_the_fastest_rival_of_the_same_round():
    seconds = {
        f"{loaders.RIVAL}, slow": [10.0, 20.0],
        f"{loaders.RIVAL}, fast": [2.0, 4.0],
        "ResidentLoader, 100 a batch": [0.1, 0.2],
    }
    section = report(seconds, 1000, Options(CPU))
    rows = {row["loader"]: row for row in section.rows}
    assert rows["ResidentLoader, 100 a batch"]["ratio"] == pytest.approx(20)
    assert rows["ResidentLoader, 100 a batch"]["images_per_s"] == pytest.approx(7500)
    assert rows[f"{loaders.RIVAL}, slow"]["ratio"] == pytest.approx(0.2)
    assert [bar.met for bar in section.bars] == [True]
    assert "fast" in section.how and "random images" in section.how
    seconds["ResidentLoader, 100 a batch"] = [0.2, 0.4]
    assert [bar.met for bar in report(seconds, 1000, Options(CPU)).bars] == [False]


def test_images(tmp_path):
    assert torch.equal(cifar10_images(Options(CPU), 30).images, Synthetic(10, (3, 32, 32), 30).images)
    rows = write_cifar(tmp_path)
    real = cifar10_images(Options(CPU, tmp_path), 11)
    assert torch.equal(real.images.flatten(1), rows[:11])


def write_cifar(root):
    """Write the official layout, 8 images a file, and return the training images as rows of bytes."""
    folder, rows = root / "cifar-10-batches-py", np.random.default_rng(0).integers(0, 256, (48, 3072), dtype=np.uint8)
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        data = {b"data": rows[8 * i : 8 * i + 8], b"labels": list(range(8))}
        (folder / name).write_bytes(pickle.dumps(data, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"x"] * 10}, protocol=2))
    return torch.from_numpy(rows)
