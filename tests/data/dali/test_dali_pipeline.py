"""What DALI refuses, again and again: nothing hangs, nothing leaks, and the same counts as damaged as elsewhere."""

import os

import pytest
import torch

from openmix.data import DaliLoader, Shards, TorchLoader
from openmix.data.loaders import DaliReaderLoader
from openmix.data.sources.files import FileSource
from openmix.errors import UserError

from .conftest import encoded, photograph, source_of
from .test_dali_loader import TRAIN, VALIDATE


def without_tables(content: bytes) -> bytes:
    """Return a JPEG whose Huffman table is none: DALI alone notices."""
    place = content.index(b"\xff\xc4")
    return content[: place + 5] + b"\xff" * 16 + content[place + 21 :]


@pytest.mark.timeout(60)
def test_what_dali_cannot_build_is_an_error_and_no_loop(photographs, monkeypatch):
    loader = DaliLoader(photographs, 4, pipeline=TRAIN)
    tries = iter(range(3))

    def build():
        next(tries)  # StopIteration, a RuntimeError within a generator, is what the fourth try meets
        raise RuntimeError("encountered:\nno memory")

    monkeypatch.setattr(loader._pipeline, "_build", build)
    with pytest.raises(UserError, match="DALI cannot build this pipeline"):
        next(loader.evaluate())


def test_threads_end_with_the_pipelines_that_failed(tmp_path):
    contents = {f"{i}.jpg": encoded(photograph(i)) for i in range(8)}
    contents["3.jpg"] = without_tables(contents["3.jpg"])
    loader = DaliLoader(source_of(tmp_path, contents), 2, pipeline=TRAIN)
    counts = []
    for epoch in range(12):
        list(loader.epoch(epoch))
        counts.append(len(os.listdir("/proc/self/task")))
    assert max(counts) <= counts[0] + 30, counts


def test_closed_among_images_that_dali_refuses(tmp_path):
    contents = {f"{i}.jpg": encoded(photograph(i)) for i in range(8)}
    for i in range(3):
        contents[f"{i}.jpg"] = without_tables(contents[f"{i}.jpg"])
    loader = DaliLoader(source_of(tmp_path, contents), 1, pipeline=VALIDATE)
    running = loader.evaluate()
    next(running)
    loader.close()
    with pytest.raises(RuntimeError, match="this loader is closed"):
        next(running)


@pytest.mark.parametrize("kind", [DaliLoader, TorchLoader])
def test_damaged_neighbours_count_once_each(tmp_path, kind):
    contents = {f"{i}.jpg": b"" if i in (3, 4, 5) else encoded(photograph(i)) for i in range(8)}
    batches = list(kind(source_of(tmp_path, contents), 2, pipeline=VALIDATE).evaluate())
    assert [len(batch.damaged) for batch in batches] == [0, 1, 2, 0]


def test_a_marker_in_the_middle_is_damage_here_too(tmp_path):
    """libjpeg ends there; DALI fills up with grey."""
    contents = {f"{i}.jpg": encoded(photograph(i)) for i in range(4)}
    middle = len(contents["1.jpg"]) - 200
    contents["1.jpg"] = contents["1.jpg"][:middle] + b"\xff\x05" + contents["1.jpg"][middle + 2 :]
    source = source_of(tmp_path, contents)
    found = [[len(b.damaged) for b in L(source, 1, pipeline=VALIDATE).evaluate()] for L in (DaliLoader, TorchLoader)]
    assert found[0] == found[1] == [0, 1, 0, 0]


def test_a_set_that_does_more_than_decode_is_left_to_do_it(photographs):
    class Negatives(FileSource):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return 255 - image, label

    source = Negatives(photographs.paths, photographs.labels, photographs.classes)
    dali, ours = (next(L(source, 8, pipeline=VALIDATE).evaluate()) for L in (DaliLoader, TorchLoader))
    assert (dali.images.int() - ours.images.int()).abs().max() <= 2


def test_ranks_of_dalis_readers_draw_differently(tmp_path):
    source = source_of(tmp_path, {f"{i:02}.jpg": encoded(photograph(0)) for i in range(16)})
    one, two = (
        torch.cat([b.images for _, b in DaliReaderLoader(source, 4, pipeline=TRAIN, shards=Shards(r, 2)).epoch(0)])
        for r in range(2)
    )
    assert not (one == two).flatten(1).all(1).any()
