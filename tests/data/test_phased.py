"""A PhasedLoader is its loaders, one after the other."""

import pytest
import torch

from openmix.data import LOADERS, Shards, Synthetic, TorchLoader
from openmix.data.timeline import Timeline
from openmix.errors import UserError
from openmix.registry import LOADERS as REGISTRY
from openmix.registry import build

PhasedLoader = LOADERS["PhasedLoader"]


def loader(size: int, batch_size: int, classes: int = 10) -> TorchLoader:
    return TorchLoader(Synthetic(classes, (1, size, size), 30), batch_size, seed=3)


def test_each_epoch_is_the_loaders_own():
    phased = PhasedLoader([loader(4, 3), loader(8, 5)], [0, 2])
    alone = loader(4, 3), loader(8, 5)
    assert phased.timeline == Timeline(((0, 10), (2, 6)))
    assert (phased.num_classes, phased.num_samples, len(phased.classes)) == (10, 30, 10)
    for epoch, own in [(0, alone[0]), (1, alone[0]), (2, alone[1]), (7, alone[1])]:
        pairs = zip(phased.epoch(epoch, start_step=2), own.epoch(epoch, start_step=2), strict=True)
        for (shard, batch), (own_shard, own_batch) in pairs:
            assert shard == own_shard and torch.equal(batch.images, own_batch.images)


def test_a_phase_that_is_over_is_closed():
    first, second = loader(4, 3), loader(8, 5)
    phased = PhasedLoader([first, second], [0, 1])
    next(phased.epoch(1))
    with pytest.raises(RuntimeError, match="closed"):
        next(first.epoch(0))
    phased.close()
    with pytest.raises(RuntimeError, match="closed"):
        next(second.epoch(1))


def test_from_a_config_every_phase_knows_its_place():
    data = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 4, 4], "length": 40}
    parts = [{"type": "TorchLoader", "batch_size": size, "dataset": data} for size in (5, 10)]
    shards = Shards(1, 2)
    phased = build(
        {"type": "PhasedLoader", "loaders": parts, "begins": [0, 3]}, REGISTRY, seed=9, shards=shards, device="cpu"
    )
    assert phased.timeline == Timeline(((0, 4), (3, 2)))
    assert all((part.seed, part.shards) == (9, shards) for part in phased.loaders)


@pytest.mark.parametrize(
    ("loaders", "begins", "message"),
    [
        ([loader(4, 3)], [0, 1], "begins must name an epoch for each loader: there are 1"),
        ([], [], "there are 0"),
        ([loader(4, 3), loader(4, 3)], [1, 2], r"must rise from 0, got \[1, 2\]"),
        ([loader(4, 3), loader(4, 3)], [0, 0], "must rise from 0"),
        ([loader(4, 3), loader(4, 3, classes=5)], [0, 1], "must have the same classes"),
    ],
)
def test_what_is_refused(loaders, begins, message):
    with pytest.raises(UserError, match=message):
        PhasedLoader(loaders, begins)


def test_it_does_not_evaluate():
    with pytest.raises(UserError, match="validate on one loader"):
        PhasedLoader([loader(4, 3)], [0]).evaluate()
