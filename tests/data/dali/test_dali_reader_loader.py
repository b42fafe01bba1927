"""DALI's own readers: what still holds, and what is refused."""

from pathlib import Path

import pytest
import torch
from torchvision.transforms import v2

from openmix.data import ArraySource, RecordIO, Shards
from openmix.data.loaders import DaliReaderLoader
from openmix.data.recordio import ImageHeader, pack_image, write_records
from openmix.errors import UserError

from .conftest import source_of

pytest.importorskip("nvidia.dali", reason="DALI is not installed")

TRAIN = [v2.RandomResizedCrop(24), v2.RandomHorizontalFlip()]


@pytest.fixture(scope="session")
def records(photographs, tmp_path_factory) -> RecordIO:
    """The photographs in one file, each of a class of its own."""
    path = str(tmp_path_factory.mktemp("records") / "a.rec")
    write_records(
        path,
        [(i, pack_image(ImageHeader(i, float(i)), photographs.encoded(i).tobytes())) for i in range(len(photographs))],
    )
    return RecordIO(path)


@pytest.fixture(params=["records", "photographs"])
def source(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_no_image_twice_an_epoch(source, world):
    loaders = [DaliReaderLoader(source, 3, pipeline=TRAIN, shards=Shards(rank, world)) for rank in range(world)]
    orders = []
    for epoch in range(3):
        orders.append([int(label) for loader in loaders for _, batch in loader.epoch(epoch) for label in batch.labels])
        assert len(orders[-1]) == len(set(orders[-1])) == 23 // (3 * world) * 3 * world
    assert orders[0] != orders[1] != orders[2]


def test_equal_keys_give_equal_epochs_from_any_step_on(source, assert_same_batches):
    whole = list(DaliReaderLoader(source, 4, pipeline=TRAIN).epoch(1))
    assert whole[0][1].images.shape == (4, 3, 24, 24) and whole[0][1].images.dtype == torch.uint8
    for start in (0, 2, 4):
        rest = list(DaliReaderLoader(source, 4, pipeline=TRAIN, num_threads=3).epoch(1, start_step=start))
        assert_same_batches(whole[start:], rest)
    assert not torch.equal(
        whole[0][1].images, next(DaliReaderLoader(source, 4, pipeline=TRAIN, seed=1).epoch(1))[1].images
    )


def test_accumulation_takes_more_batches_a_step(source):
    loader = DaliReaderLoader(source, 4, pipeline=TRAIN, shards=Shards(accumulate=2))
    assert [shard for shard, _ in loader.epoch(0)] == [0, 1, 0, 1]
    assert [shard for shard, _ in loader.epoch(0, start_step=1)] == [0, 1]


def test_damage_ends_it_with_advice(tmp_path):
    source = source_of(tmp_path, {"a.jpg": b"", "b.jpg": b"<html>"})
    with pytest.raises(UserError, match=r"DALI cannot read an image of .*; DaliLoader replaces what is damaged"):
        list(DaliReaderLoader(source, 2, pipeline=TRAIN).epoch(0))


class TestWrongInput:
    """One message."""

    @pytest.mark.parametrize("pipeline", [[], TRAIN[1:], [*TRAIN, TRAIN[1]], [v2.Resize(24)]])
    def test_another_pipeline(self, source, pipeline):
        with pytest.raises(UserError, match="DaliReaderLoader's pipeline is RandomResizedCrop and perhaps"):
            DaliReaderLoader(source, 4, pipeline=pipeline)

    def test_another_set(self):
        memory = ArraySource(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4), "abcd")
        with pytest.raises(UserError, match="DaliReaderLoader reads RecordIO or files, not ArraySource"):
            DaliReaderLoader(memory, 2, pipeline=TRAIN)

    def test_records_without_their_index(self, records, tmp_path):
        path = tmp_path / "b.rec"
        path.write_bytes(Path(records.files[0].path).read_bytes())
        with pytest.raises(UserError, match=r"with its \.idx beside it"):
            DaliReaderLoader(RecordIO(str(path)), 2, pipeline=TRAIN)

    def test_numbers(self, source):
        with pytest.raises(UserError, match="num_threads and shuffle_window must be at least 1, not 2, 0"):
            DaliReaderLoader(source, 4, pipeline=TRAIN, shuffle_window=0)

    def test_evaluation(self, source):
        with pytest.raises(UserError, match="is for train_dataloader; validate with"):
            DaliReaderLoader(source, 4, pipeline=TRAIN).evaluate()
