"""What holds for every loader."""

import importlib.util

import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from openmix.data import LOADERS, ArraySource, DaliLoader, Loader, Shards, Synthetic
from openmix.data.order import train_batches
from openmix.data.transforms import Cutout
from openmix.errors import UserError
from openmix.ops.random import generator_for

PIPELINE = [v2.RandomCrop((8, 12), 2), v2.RandomHorizontalFlip(), Cutout(3)]
SOURCE = Synthetic(10, (3, 8, 12), 50)

# these have test files of their own, and promise other things
SINGLE = {name: kind for name, kind in LOADERS.items() if name not in ("PhasedLoader", "DaliReaderLoader")}
if importlib.util.find_spec("nvidia.dali") is None:
    del SINGLE["DaliLoader"]
each_loader = pytest.mark.parametrize("kind", SINGLE.values(), ids=SINGLE)


@each_loader
def test_it_keeps_the_protocol_and_describes_its_set(kind):
    loader = kind(SOURCE, 8)
    assert isinstance(loader, Loader)
    assert (loader.num_samples, loader.num_classes, loader.batch_size, loader.steps_per_epoch) == (50, 10, 8, 6)
    assert loader.classes == SOURCE.classes


@each_loader
def test_without_a_pipeline_it_yields_the_images_of_the_set_in_the_keyed_order(kind):
    loader = kind(SOURCE, 8, seed=4, shards=Shards(1, 2, 2))
    batches = list(loader.epoch(7))
    plan = list(train_batches(4, 7, 50, 8, Shards(1, 2, 2)))
    assert [shard for shard, _ in batches] == [shard for _, shard, _ in plan] == [1, 3]
    for (_, batch), (_, _, index) in zip(batches, plan, strict=True):
        assert torch.equal(batch.index, index) and batch.index.dtype == torch.int64
        assert torch.equal(batch.images, SOURCE.images[index]) and batch.images.dtype == torch.uint8
        assert torch.equal(batch.labels, SOURCE.labels[index]) and batch.labels.dtype == torch.int64
        format = torch.channels_last if kind is DaliLoader else torch.contiguous_format
        assert len(batch.views) == 1 and batch.images.is_contiguous(memory_format=format)


def test_all_loaders_visit_the_same_indices_in_the_same_order():
    visited = [
        [
            batch.index.tolist()
            for epoch in (0, 1)
            for _, batch in kind(SOURCE, 8, pipeline=PIPELINE, seed=2).epoch(epoch)
        ]
        for kind in SINGLE.values()
    ]
    assert all(order == visited[0] for order in visited) and visited[0][:6] != visited[0][6:]


@each_loader
@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_image_once_an_epoch_over_all_processes(kind, world):
    source = Synthetic(10, (3, 8, 12), 48)
    loaders = [kind(source, 4, pipeline=PIPELINE, shards=Shards(rank, world)) for rank in range(world)]
    orders = []
    for epoch in range(3):
        orders.append([i for loader in loaders for _, batch in loader.epoch(epoch) for i in batch.index.tolist()])
        assert sorted(orders[-1]) == [*range(48)]
    assert orders[0] != orders[1] != orders[2]


@each_loader
def test_two_processes_see_what_one_that_accumulates_two_sees(kind):
    alone = [
        (shard, batch.images, batch.index)
        for shard, batch in kind(SOURCE, 6, pipeline=PIPELINE, shards=Shards(0, 1, 2)).epoch(3)
    ]
    ranks = [kind(SOURCE, 6, pipeline=PIPELINE, shards=Shards(rank, 2)).epoch(3) for rank in range(2)]
    together = [(shard, batch.images, batch.index) for pair in zip(*ranks, strict=True) for shard, batch in pair]
    assert len(alone) == 8
    for (shard, images, index), (shard2, images2, index2) in zip(alone, together, strict=True):
        assert shard == shard2 and torch.equal(index, index2) and torch.equal(images, images2)


@each_loader
@pytest.mark.parametrize("start_step", [0, 1, 3, 5, 6])
def test_starting_within_an_epoch_gives_the_rest_of_it(kind, start_step):
    whole = list(kind(SOURCE, 4, pipeline=PIPELINE, shards=Shards(0, 1, 2)).epoch(2))
    rest = list(kind(SOURCE, 4, pipeline=PIPELINE, shards=Shards(0, 1, 2)).epoch(2, start_step=start_step))
    assert len(whole) == 12 and len(rest) == 12 - 2 * start_step
    for (shard, batch), (shard2, batch2) in zip(whole[2 * start_step :], rest, strict=True):
        assert shard == shard2 and torch.equal(batch.index, batch2.index) and torch.equal(batch.images, batch2.images)


@each_loader
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_covers_every_image_once_unchanged_by_the_number_of_processes(kind, world_size):
    def batches(rank, count):
        return list(kind(SOURCE, 8, pipeline=PIPELINE, shards=Shards(rank, count)).evaluate())

    alone = {tuple(batch.index.tolist()): batch for batch in batches(0, 1)}
    shared = [batch for rank in range(world_size) for batch in batches(rank, world_size)]
    assert sorted(i for batch in shared for i in batch.index.tolist()) == list(range(50))
    assert len(shared) == len(alone) == 7
    assert all(torch.equal(batch.images, alone[tuple(batch.index.tolist())].images) for batch in shared)


@each_loader
def test_evaluation_without_a_pipeline_is_the_set_itself(kind):
    images = torch.cat([batch.images for batch in kind(SOURCE, 8).evaluate()])
    assert torch.equal(images, SOURCE.images)


@each_loader
def test_augmentation_changes_with_seed_and_epoch_and_with_nothing_else(kind):
    def sums(seed, epoch):
        """Sum of each augmented image, by its index."""
        found = {}
        for _, batch in kind(SOURCE, 10, pipeline=PIPELINE, seed=seed).epoch(epoch):
            found.update(zip(batch.index.tolist(), batch.images.long().sum((1, 2, 3)).tolist(), strict=True))
        return found

    assert sums(0, 0) == sums(0, 0) and len(sums(0, 0)) == 50
    for other in (sums(0, 1), sums(1, 0)):
        assert sum(other[i] == value for i, value in sums(0, 0).items()) < 10


@each_loader
def test_crop_places_and_flips_are_uniform(kind, coordinates):
    """Read from each augmented image where its window was and whether it is mirrored."""
    loader = kind(coordinates, 60, pipeline=[v2.RandomCrop((4, 10)), v2.RandomHorizontalFlip()])
    places = torch.zeros(5, 3, 2)
    for epoch in range(50):
        ((_, batch),) = loader.epoch(epoch)
        rows, columns = batch.images[:, 1, 0, 0].long() - 1, batch.images[:, 2, 0].long() - 1
        mirrored = columns[:, 0] > columns[:, -1]
        for row, left, flip in zip(rows, torch.minimum(columns[:, 0], columns[:, -1]), mirrored.long(), strict=True):
            places[row, left, flip] += 1
        assert torch.equal(batch.images[:, 0, 0, 0].long() - 1, batch.index)
    assert places.sum() == 3000
    assert stats.chisquare(places.flatten().numpy()).pvalue > 0.001


@each_loader
def test_global_generators_are_left_alone(kind):
    import random

    import numpy as np

    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    loader = kind(SOURCE, 10, pipeline=PIPELINE)
    list(loader.epoch(0))
    list(loader.evaluate())
    drawn = torch.rand(()).item(), random.random(), np.random.rand()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    assert drawn == (torch.rand(()).item(), random.random(), np.random.rand())


@each_loader
def test_a_set_smaller_than_a_step_can_be_evaluated_but_not_trained_on(kind):
    loader = kind(SOURCE.take(5), 8)
    assert [len(batch) for batch in loader.evaluate()] == [5]
    with pytest.raises(UserError, match="5 images, fewer than one step takes"):
        _ = loader.steps_per_epoch
    with pytest.raises(UserError, match="lower batch_size"):
        next(loader.epoch(0))


@each_loader
def test_a_rank_whose_share_is_empty_yields_nothing(kind):
    assert list(kind(SOURCE.take(5), 8, shards=Shards(1, 2)).evaluate()) == []


@each_loader
def test_a_batch_size_below_one_is_refused(kind):
    with pytest.raises(UserError, match="batch_size must be at least 1, not 0"):
        kind(SOURCE, 0)


@each_loader
def test_a_closed_loader_says_so(kind):
    loader = kind(SOURCE, 8)
    running = loader.epoch(0)
    next(running)
    loader.close()
    loader.close()
    for batches in (running, loader.epoch(0), loader.evaluate()):
        with pytest.raises(RuntimeError, match="closed"):
            next(batches)


@each_loader
def test_the_set_is_not_modified(kind):
    images = SOURCE.images.clone()
    for _, batch in kind(ArraySource(images, SOURCE.labels, SOURCE.classes), 10, pipeline=PIPELINE).epoch(0):
        batch.images.zero_()
    for batch in kind(ArraySource(images, SOURCE.labels, SOURCE.classes), 10).evaluate():
        batch.images.zero_()
    assert torch.equal(images, SOURCE.images)


def test_resident_draws_are_keyed_by_seed_epoch_step_and_shard(coordinates):
    """Repeat one micro-batch by hand from its key."""
    loader = LOADERS["ResidentLoader"](
        coordinates, 5, pipeline=[v2.RandomCrop((4, 10))], seed=9, shards=Shards(1, 2, 2)
    )
    shard, batch = list(loader.epoch(6))[3]
    generator = generator_for(9, "augment", 6, 1, 3)
    tops, lefts = torch.randint(5, (5,), generator=generator), torch.randint(3, (5,), generator=generator)
    assert shard == 3
    for image, index, top, left in zip(batch.images, batch.index, tops, lefts, strict=True):
        assert torch.equal(image, coordinates.images[index, :, top : top + 4, left : left + 10])


def test_resident_takes_transforms_in_any_order(coordinates):
    """Flip before the crop, and a second crop: the pixels still tell their rows and columns."""
    pipeline = [v2.RandomHorizontalFlip(1.0), v2.RandomCrop((6, 8)), v2.RandomCrop(5), v2.RandomHorizontalFlip(1.0)]
    ((_, batch),) = LOADERS["ResidentLoader"](coordinates, 60, pipeline=pipeline).epoch(0)
    rows, columns = batch.images[:, 1].long(), batch.images[:, 2].long()
    assert batch.images.shape == (60, 3, 5, 5)
    assert (rows.diff(dim=1) == 1).all() and (columns.diff(dim=2) == 1).all()


class OnDisk:
    """A source that is not in memory."""

    classes = ("a", "b")
    num_classes = 2

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.full((3, 4, 4), index, dtype=torch.uint8), index % 2

    def take(self, count):
        return self


def test_resident_refuses_a_set_that_is_not_in_memory():
    with pytest.raises(UserError, match="needs a data set that is in memory, not OnDisk; use TorchLoader"):
        LOADERS["ResidentLoader"](OnDisk(), 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_resident_batches_are_the_same_on_a_gpu_and_nothing_waits_for_it():
    loaders = [LOADERS["ResidentLoader"](SOURCE, 8, pipeline=PIPELINE, device=device) for device in ("cpu", "cuda")]
    list(loaders[1].epoch(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu = list(loaders[1].epoch(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (_, left), (_, right) in zip(loaders[0].epoch(1), on_gpu, strict=True):
        assert torch.equal(left.images, right.images.cpu()) and torch.equal(left.labels, right.labels.cpu())
