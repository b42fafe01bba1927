"""300 steps of learned mixing on real CIFAR-10: mask loss falls, student learns, masks come to follow lambda."""

import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from openmix.data import SOURCES
from openmix.data.batch import Batch
from openmix.models import ClsMixupHead, ConvNet
from openmix.ops.random import generator_for, sample_sources
from openmix.tasks import AdAutoMixClassification, AutoMixClassification, SAMixClassification, StepContext
from openmix.tasks.learned import Draw

SHARED = Path(__file__).parents[3] / "shared/data/cifar10"
STEPS = 300


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """Normalised training images and their labels."""
    if not (SHARED / "unpack.py").exists():
        pytest.skip("the real CIFAR-10 images are not at ../shared/data/cifar10")
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(SHARED / "unpack.py"), str(folder)], check=True, capture_output=True)
    source = SOURCES["CIFAR10"](data_root=str(folder), split="train", download=False)
    mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)))
    return lambda which: Batch((((source.images[which].float() - mean) / std),), source.labels[which], which)


def train(task, cifar) -> dict[str, list[float]]:
    optimizer = torch.optim.SGD(list(task.parameter_groups()), lr=0.1, momentum=0.9, weight_decay=1e-4)
    history: dict[str, list[float]] = {}
    for step in range(STEPS):
        context = StepContext(0, 0, step, 0, step / STEPS)
        which = torch.randint(50000, (50,), generator=generator_for(0, "batch", step))
        report = task(cifar(which), context)
        report["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        task.after_step(context)
        for name, value in report.items():
            history.setdefault(name, []).append(value.item())
    return history


def means(values: list[float]) -> tuple[float, float]:
    return statistics.mean(values[:50]), statistics.mean(values[-50:])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AutoMixClassification, SAMixClassification, AdAutoMixClassification])
def test_300_steps(kind, cifar):
    torch.manual_seed(0)
    task = kind(ConvNet((16, 32, 64)), ClsMixupHead(10, 64)).train()
    history = train(task, cifar)
    for loss, fall in (("loss_mix_q", 0.05), ("loss_one_q", 0.4)):  # a mean of 50 steps is off by about 0.007
        first, last = means(history[loss])
        assert last < first - fall, loss
    if kind is AdAutoMixClassification:
        return
    first, last = means(history["loss_mask"])
    assert last < first - 0.01
    batch, sources = cifar(torch.arange(100)), sample_sources(100, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = task.mask_features(batch.images)
        own = [
            task.shares(features, Draw(sources, torch.tensor([[lam, 1 - lam]])), (32, 32))[:, 0].mean().item()
            for lam in (0.1, 0.5, 0.9)
        ]
    assert own == sorted(own), "the own share grows with lambda, not against it"
