"""What is particular to ResidentLoader: what a batch costs, and what it keeps."""

import gc
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from openmix.data import ResidentLoader, Synthetic

SOURCE = Synthetic(10, (3, 8, 12), 50)
FREE = {"alias", "empty", "expand", "select", "slice", "split_with_sizes", "unsqueeze", "view"}  # touch no elements


class Calls(TorchDispatchMode):
    """Notes the names of what torch computes."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name not in FREE:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def calls_of_one_batch(pipeline):
    running = ResidentLoader(SOURCE, 10, pipeline=pipeline).epoch(0)
    next(running)
    with Calls() as calls:
        next(running)
    return calls.names


def test_without_a_pipeline_a_batch_is_chosen_and_nothing_else():
    assert calls_of_one_batch([]) == ["index_select", "index_select"]


def test_a_leading_crop_is_chosen_like_an_image():
    """Beside two draws, put together with the indices and added up to where each window begins."""
    names = calls_of_one_batch([v2.RandomCrop((8, 12), 2)])
    assert names == ["randint", "randint", "stack", "mul", "add_", "add_", "cat", "index_select", "index_select"]


def test_the_set_is_stored_once():
    """The windows of padded images are a view of them, and of what is not padded nothing is copied."""
    plain, cropped = ResidentLoader(SOURCE, 10), ResidentLoader(SOURCE, 10, pipeline=[v2.RandomCrop((8, 12), 2)])
    assert plain._choices is not None and plain._choices.data_ptr() == SOURCE.images.data_ptr()
    assert cropped._choices is not None and cropped._choices.untyped_storage().nbytes() == 50 * 3 * 12 * 16


def test_closing_lets_the_set_go():
    loader = ResidentLoader(SOURCE, 10, pipeline=[v2.RandomCrop((8, 12), 2)])
    kept = weakref.ref(loader._choices)
    loader.close()
    gc.collect()
    assert kept() is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pipeline", [[], [v2.RandomCrop((8, 12), 2), v2.RandomHorizontalFlip()]])
def test_the_host_waits_for_nothing(pipeline):
    loader = ResidentLoader(SOURCE, 10, pipeline=pipeline, device="cuda")
    expected = list(ResidentLoader(SOURCE, 10, pipeline=pipeline).epoch(1))
    list(loader.epoch(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = list(loader.epoch(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (_, batch), (_, one) in zip(found, expected, strict=True):
        assert torch.equal(batch.images.cpu(), one.images) and torch.equal(batch.labels.cpu(), one.labels)
