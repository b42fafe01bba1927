"""Batches come out of a worker as they went in, the small ones without a file in shared memory."""

from multiprocessing.reduction import ForkingPickler

import pytest
import torch

from openmix.data import Batch, Synthetic, TorchLoader
from openmix.data.loaders.passing import SMALL, pass_small_in_messages
from openmix.errors import DamagedImageError

SMALL_IMAGES = torch.randint(256, (4, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LARGE_IMAGES = torch.zeros(SMALL // 192 + 1, 3, 8, 8, dtype=torch.uint8)


def passed(batch):
    pass_small_in_messages()
    return ForkingPickler.loads(ForkingPickler.dumps(batch))


@pytest.mark.parametrize(
    "view_of",
    [
        torch.Tensor.clone,
        torch.Tensor.float,
        torch.Tensor.bfloat16,
        lambda images: images.to(memory_format=torch.channels_last),
        lambda images: images[::2, :, :, 1:],
        lambda images: images[:0],
        lambda images: images.repeat(SMALL // images.numel() + 1, 1, 1, 1),
    ],
    ids=["uint8", "float", "bfloat16", "channels last", "a part", "none", "large"],
)
def test_all_of_a_batch_arrives(view_of):
    images = SMALL_IMAGES.clone()
    views = view_of(images), images
    labels, pixel_range = torch.arange(len(views[0])), torch.rand(2, 3)
    expected = [(view.clone(), view.stride()) for view in views]
    found = passed(Batch(views, labels, labels + 7, pixel_range, (DamagedImageError("a.jpg", "is empty"),)))
    for (sent, stride), got in zip(expected, found.views, strict=True):
        assert torch.equal(sent, got) and (sent.dtype, stride) == (got.dtype, got.stride())
    assert torch.equal(found.labels, torch.arange(len(found))) and torch.equal(found.index, found.labels + 7)
    assert found.pixel_range is not None and torch.equal(found.pixel_range, pixel_range)
    assert [str(error) for error in found.damaged] == ["a.jpg is empty"]
    found.views[1].zero_()  # it is the receiver's own, to be written to


def test_what_is_small_takes_no_shared_memory_and_what_is_large_does():
    labels = torch.arange(len(LARGE_IMAGES))
    batch = Batch((LARGE_IMAGES.clone(), SMALL_IMAGES.clone()), labels.clone(), labels.clone())
    passed(batch)
    large, small = batch.views  # torch moves what it shares
    assert large.is_shared() and not any(tensor.is_shared() for tensor in (small, batch.labels, batch.index))


@pytest.mark.parametrize("batch_size", [10, 60])
def test_batches_of_either_size_come_out_of_workers(batch_size):
    source = Synthetic(10, (3, 80, 80), 120)
    assert (batch_size * 3 * 80 * 80 > SMALL) == (batch_size == 60)
    loader = TorchLoader(source, batch_size, num_workers=1)
    images = torch.cat([batch.images for batch in loader.evaluate()])
    loader.close()
    assert torch.equal(images, source.images)
