"""Batches that are made beside a step: the order of what is queued, on a GPU that is played; the real one where it is.

The order is what correctness rests on, and it is the same on every device; that it helps, a benchmark has to say.
"""

import weakref
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torchvision.transforms import v2

from openmix.data import Batch, ResidentLoader, Synthetic, TorchLoader
from openmix.engine.prefetch import Prefetch
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor

PIPELINE = [v2.RandomCrop(8, 1), v2.RandomHorizontalFlip()]


class FakeStream:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


class FakeCuda:
    """Plays ``torch.cuda``: remembers what is asked of it, and whether work falls on the side stream."""

    def __init__(self):
        self.log = []
        self.current = self.main = FakeStream("main", self.log)
        self.made = 0

    def Stream(self, device):  # noqa: N802  (torch's name)
        self.made += 1
        return FakeStream("side", self.log)

    def current_stream(self, device):
        return self.current

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def note(self, what):
        self.log.append(f"{what} on {self.current.name}")


class FakeTensor:
    """A tensor that lies on the GPU that is played."""

    is_cuda = True

    def __init__(self, name, log):
        self.name, self.log = name, log

    def record_stream(self, stream):
        self.log.append(f"{self.name} is used on {stream.name}")


class Played:
    """A loader of three batches, what prepares them, and what happened in which order."""

    def __init__(self, fails_at=None):
        self.cuda, self.fails_at = FakeCuda(), fails_at
        self.prefetch = Prefetch(torch.device("cuda"), self.cuda)
        self.log = self.cuda.log

    def batches(self):
        try:
            for number in range(3):
                self.cuda.note(f"make {number}")
                if number == self.fails_at:
                    raise ValueError("damaged")
                tensors = [FakeTensor(f"{name} {number}", self.log) for name in ("image", "label", "index")]
                yield number, Batch((tensors[0],), *tensors[1:])
        finally:
            self.log.append("closed")

    def prepare(self, batch):
        self.cuda.note("prepare")
        return batch.with_views(FakeTensor(f"normalised {batch.images.name}", self.log))

    def run(self):
        return self.prefetch(self.batches(), self.prepare)


def made(number):
    """What has to happen for one batch, in this order, and nothing else."""
    return [
        f"make {number} on side",
        "prepare on side",
        "main waits for side",
        f"normalised image {number} is used on main",
        f"label {number} is used on main",
        f"index {number} is used on main",
    ]


def test_a_batch_is_made_beside_and_the_step_waits_for_it_on_the_device():
    played = Played()
    for number, _ in played.run():
        played.cuda.note(f"step {number}")
    steps = [line for number in range(3) for line in [*made(number), f"step {number} on main"]]
    assert played.log == ["side waits for main", *steps, "closed"]


def test_one_stream_serves_all_epochs():
    played = Played()
    for _ in range(3):
        list(played.run())
    assert played.cuda.made == 1


def test_the_consumers_stream_is_the_one_it_is_on():
    played = Played()
    other = FakeStream("other", played.log)
    with played.cuda.stream(other):
        next(played.run())
    assert "other waits for side" in played.log and "label 0 is used on other" in played.log
    assert not any(line.startswith("main waits") for line in played.log)


def test_what_does_not_lie_on_the_gpu_is_left_alone():
    played = Played()
    cpu = torch.zeros(2, dtype=torch.int64)
    batches = [(0, Batch((cpu,), cpu, cpu, pixel_range=cpu.float()))]
    assert len(list(played.prefetch(batches, lambda batch: batch))) == 1
    batches = [(0, replace(batches[0][1], pixel_range=FakeTensor("range", played.log)))]
    assert len(list(played.prefetch(batches, lambda batch: batch))) == 1
    assert [line for line in played.log if "is used" in line] == ["range is used on main"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
class TestOnEitherDevice:
    def played(self, device, **options):
        played = Played(**options)
        played.prefetch = Prefetch(torch.device(device), played.cuda)
        return played

    def test_a_loader_is_asked_for_no_more_than_the_steps_want(self, device):
        played = self.played(device)
        running = played.run()
        assert played.log == []
        next(running)
        next(running)
        assert sum(line.startswith("make") for line in played.log) == 2

    def test_an_error_is_raised_at_the_step_it_belongs_to(self, device):
        played = self.played(device, fails_at=1)
        running = played.run()
        assert next(running)[0] == 0
        with pytest.raises(ValueError, match="damaged"):
            next(running)
        assert played.log[-1] == "closed" and played.cuda.current is played.cuda.main

    def test_closing_closes_the_loaders_iterator(self, device):
        played = self.played(device)
        batches = played.batches()
        running = played.prefetch(batches, played.prepare)
        next(running)
        running.close()
        assert played.log[-1] == "closed" and list(batches) == []

    def test_a_batch_is_let_go_before_the_next_is_made(self, device):
        played, alive = self.played(device), []

        def prepare(batch):
            alive.append(first() is not None)
            return played.prepare(batch)

        first = weakref.ref(played)  # stands for a batch until there is one
        running = played.prefetch(played.batches(), prepare)
        first = weakref.ref(next(running)[1].views[0])
        next(running)
        assert alive == [True, False]


def test_on_a_cpu_nothing_is_asked_of_cuda():
    played = Played()
    played.prefetch = Prefetch(torch.device("cpu"), cuda=None)
    assert [number for number, _ in played.run()] == [0, 1, 2]
    assert played.log == [*(line for n in range(3) for line in (f"make {n} on main", "prepare on main")), "closed"]


def test_any_iterable_is_taken():
    batch = Batch((torch.zeros(1),), torch.zeros(1), torch.zeros(1))
    assert [shard for shard, _ in Prefetch(torch.device("cpu"))([(3, batch), (5, batch)], lambda b: b)] == [3, 5]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestOnAGpu:
    """The real thing: equal bits, whatever the step does meanwhile, and the host waits for nothing."""

    @pytest.fixture(params=["resident", "torch"])
    def loader(self, request):
        source = Synthetic(10, (3, 8, 8), 800)
        kind = ResidentLoader if request.param == "resident" else TorchLoader
        loader = kind(source, 50, pipeline=PIPELINE, device="cuda")
        yield loader
        loader.close()

    @pytest.fixture
    def prepare(self):
        normalize = Normalize(Preprocessor((0.5,), (0.25,)), "cuda")
        return lambda batch: normalize.batch(batch.to("cuda"))

    def test_bits_are_equal_while_the_gpu_is_far_behind(self, loader, prepare):
        device = torch.device("cuda")
        expected = [prepare(batch).images.clone() for _, batch in loader.epoch(0)]
        found, weight = [], torch.randn(2048, 2048, device=device)
        for _, batch in Prefetch(device)(loader.epoch(0), prepare):
            for _ in range(20):  # some ms, so that the host and the side stream run ahead
                weight = weight @ weight / 50
            found.append(batch.images * 1)
        assert len(found) == 16 and all(map(torch.equal, found, expected))

    def test_the_host_waits_for_nothing(self, loader, prepare):
        device = torch.device("cuda")
        prefetch = Prefetch(device)
        list(prefetch(loader.epoch(0), prepare))
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            assert len(list(prefetch(loader.epoch(1), prepare))) == 16
        finally:
            torch.cuda.set_sync_debug_mode("default")
