"""What is particular to TorchLoader: workers, any source, any pipeline."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from openmix.data import ArraySource, Shards, Synthetic, TorchLoader
from openmix.data.loaders.signals import heed_parent_only, sigterm_blocked
from openmix.errors import UserError

SOURCE = Synthetic(10, (3, 16, 12), 50)

# torch advises against more workers than cores; what is tested is that they do not matter.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def noise_of_all_generators(image):
    """Draw from every global generator that a transform may use."""
    return image + torch.tensor([random.randrange(256), np.random.randint(256), torch.randint(256, ())]).view(3, 1, 1)


PIPELINE = [v2.RandomCrop(16, 4, pad_if_needed=True), v2.ColorJitter(0.4, 0.4, 0.4), noise_of_all_generators]


class Recording:
    """A source that is read one image at a time and remembers which."""

    classes = ("a", "b")
    num_classes = 2

    def __init__(self):
        self.read = []

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.read.append(index)
        return torch.full((3, 4, 4), index, dtype=torch.uint8), index % 2

    def take(self, count):
        return self


def process_id(image):
    return torch.tensor([os.getpid(), torch.get_num_threads()])


def ids_and_threads(loader, epoch):
    return {tuple(row) for _, batch in loader.epoch(epoch) for row in batch.images.tolist()}


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("shards", [Shards(), Shards(1, 2, 2)])
def test_the_number_of_workers_does_not_change_the_batches(shards, assert_same_batches):
    found = []
    for workers in (0, 1, 4):
        loader = TorchLoader(SOURCE, 3, pipeline=PIPELINE, num_workers=workers, shards=shards)
        epochs = [*loader.epoch(0), *loader.epoch(1, start_step=2)]
        found.append([*epochs, *((0, batch) for batch in loader.evaluate())])
        loader.close()
    assert_same_batches(found[0], found[1])
    assert_same_batches(found[0], found[2])
    assert len({batch.images.float().mean().item() for _, batch in found[0]}) == len(found[0])


def test_an_image_looks_the_same_in_any_batch():
    """Draws belong to the image, so another batch size, order of ranks or start does not change it."""

    def by_index(batch_size, shards):
        loader = TorchLoader(SOURCE, batch_size, pipeline=PIPELINE, shards=shards)
        return {int(i): x for _, batch in loader.epoch(4) for i, x in zip(batch.index, batch.images, strict=True)}

    small, large = by_index(2, Shards(0, 2)), by_index(25, Shards())
    assert len(large) == 50 and len(small) == 24
    assert all(torch.equal(image, large[i]) for i, image in small.items())


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_workers_start_once_use_one_thread_and_end_when_closed():
    loader = TorchLoader(SOURCE, 5, pipeline=[process_id], num_workers=2)
    first, second = ids_and_threads(loader, 0), ids_and_threads(loader, 1)
    pids = {pid for pid, _ in first}
    assert first == second and len(pids) == 2 and os.getpid() not in pids
    assert {threads for _, threads in first} == {1}
    start = time.monotonic()
    loader.close()
    assert all(gone(pid) for pid in pids) and time.monotonic() - start < 4


def test_closing_ends_the_workers_of_an_unfinished_epoch():
    loader = TorchLoader(SOURCE, 5, pipeline=[process_id], num_workers=2)
    running = loader.epoch(0)
    pids = {int(next(running)[1].images[0, 0]) for _ in range(4)}
    assert len(pids) == 2
    loader.close()
    assert all(gone(pid) for pid in pids)


def test_an_abandoned_epoch_leaves_nothing_behind(assert_same_batches):
    loader = TorchLoader(SOURCE, 5, pipeline=PIPELINE, num_workers=2)
    for _ in range(3):
        next(loader.epoch(0))
    expected = list(TorchLoader(SOURCE, 5, pipeline=PIPELINE).epoch(1))
    assert_same_batches(list(loader.epoch(1)), expected)
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iteration_overtaken_by_another_says_so(workers):
    loader = TorchLoader(SOURCE, 5, num_workers=workers)
    first = loader.epoch(0)
    next(first)
    next(loader.epoch(1))
    with pytest.raises(RuntimeError, match="another one was started"):
        next(first)
    loader.close()


@pytest.mark.usefixtures("two_threads")
def test_stop_signals_of_others_do_not_end_the_workers():
    """A scheduler signals every process of a job; the main one still wants to finish its step and save."""
    loader = TorchLoader(SOURCE, 2, pipeline=[process_id], num_workers=2)
    running = loader.epoch(0)
    pids = {int(next(running)[1].images[0, 0]) for _ in range(4)}
    script = "import os, sys; [os.kill(int(p), int(n)) for p in sys.argv[2:] for n in sys.argv[1].split()]"
    numbers = " ".join(str(int(number)) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT))
    subprocess.run([sys.executable, "-c", script, numbers, *map(str, pids)], check=True)
    assert len(list(running)) == 21 and not any(gone(pid) for pid in pids)
    loader.close()
    assert all(gone(pid) for pid in pids)


def test_a_worker_that_hangs_can_be_ended_by_its_parent():
    ready = multiprocessing.get_context("fork").Event()

    def hang():
        heed_parent_only()
        ready.set()
        time.sleep(60)

    worker = multiprocessing.get_context("fork").Process(target=hang)
    with sigterm_blocked():
        worker.start()
    assert ready.wait(10)
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0


def test_a_program_that_forgets_to_close_ends_all_the_same():
    code = """
from openmix.data import Synthetic, TorchLoader
loader = TorchLoader(Synthetic(2, (3, 8, 8), 40), 4, num_workers=2)
running = loader.epoch(0)
print(len(next(running)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_start_with_the_loader(workers):
    """Before anything computes: a child that is forked while another thread begins may hang."""
    before = set(multiprocessing.active_children())
    loader = TorchLoader(SOURCE, 5, num_workers=workers)
    started = set(multiprocessing.active_children()) - before
    assert len(started) == workers
    assert len(list(loader.evaluate())) == len(SOURCE) // 5
    assert set(multiprocessing.active_children()) - before == started
    loader.close()


def test_starting_within_an_epoch_does_not_read_what_is_before():
    source = Recording()
    batches = list(TorchLoader(source, 4, pipeline=[v2.Identity()]).epoch(0, start_step=8))
    assert len(source.read) == 8 and source.read == [i for _, batch in batches for i in batch.index.tolist()]


def test_any_source_is_read_in_order_with_its_labels():
    for pipeline in ([], [v2.Identity()]):
        batch = next(TorchLoader(Recording(), 7, pipeline=pipeline).evaluate())
        assert batch.images[:, 0, 0, 0].tolist() == batch.index.tolist() == [*range(7)]
        assert batch.labels.tolist() == [0, 1, 0, 1, 0, 1, 0] and batch.labels.dtype == torch.int64


def test_a_set_in_memory_is_not_read_image_by_image():
    class Unreadable(ArraySource):
        def __getitem__(self, index):
            raise AssertionError("read one image")

    source = Unreadable(SOURCE.images, SOURCE.labels, SOURCE.classes)
    for pipeline in ([], [v2.Identity()]):
        (batch,) = TorchLoader(source, 50, pipeline=pipeline).evaluate()
        assert torch.equal(batch.images, SOURCE.images)


def test_a_tuple_from_the_pipeline_is_several_views():
    pipeline = [lambda image: (image, image.flip(-1)), v2.ToDtype(torch.float32)]
    batch = next(TorchLoader(SOURCE, 6, pipeline=pipeline[:1]).evaluate())
    assert len(batch.views) == 2 and torch.equal(batch.views[1], SOURCE.images[:6].flip(-1))


def test_subclasses_of_tensor_come_out_as_tensors():
    batch = next(TorchLoader(SOURCE, 6, pipeline=[v2.ToImage(), v2.RandomHorizontalFlip(1.0)]).evaluate())
    assert type(batch.images) is torch.Tensor and torch.equal(batch.images, SOURCE.images[:6].flip(-1))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("transform", "found"), [(v2.ToPILImage(), "Image"), (v2.RandomResize(8, 20), r"\(3, \d+, \d+\) and \(3, \d+")]
)
def test_a_pipeline_that_does_not_end_in_equal_tensors_is_refused(workers, transform, found):
    loader = TorchLoader(SOURCE, 10, pipeline=[transform], num_workers=workers)
    with pytest.raises(UserError, match=rf"^a pipeline must end in tensors of one shape .* ends in {found}[^\n]*$"):
        next(loader.evaluate())
    loader.close()


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(UserError, match="num_workers must be at least 0, not -1"):
        TorchLoader(SOURCE, 4, num_workers=-1)


def test_importing_the_package_does_not_import_torchvision_or_sklearn():
    code = "import sys, openmix.data; print(sorted({'torchvision', 'sklearn', 'mmengine'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_for_a_gpu_are_pinned(workers):
    loader = TorchLoader(SOURCE, 5, num_workers=workers, device="cuda")
    batch = next(loader.evaluate())
    assert batch.images.is_pinned() and batch.labels.is_pinned() and torch.equal(batch.images, SOURCE.images[:5])
    loader.close()
