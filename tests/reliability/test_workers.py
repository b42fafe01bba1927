"""A process that reads images hangs or dies: the run ends with a message, not with a wait or a traceback."""

import gc
import os
import signal
import time

import pytest
from torchvision.transforms.v2 import RandomVerticalFlip

from openmix.commands import run_command
from openmix.data.loaders import workers
from openmix.data.loaders.workers import Workers
from openmix.errors import Reported

PARENT = os.getpid()


class Ill:
    """Answers, until a request tells it what to suffer from."""

    def __getitems__(self, request: str) -> str:
        if request == "hang":
            time.sleep(60)
        if request == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if request == "raise":
            raise KeyError("a bug")
        return request


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 1)
    pool = Workers(Ill(), num_workers=1)
    yield pool
    pool.close()
    gc.collect()  # the error's traceback and the iterator hold each other, and with them the worker


@pytest.mark.parametrize(
    ("illness", "message"),
    [
        pytest.param("hang", r"DataLoader timed out after 1 seconds \(", marks=pytest.mark.slow),
        ("die", r"DataLoader worker .* \(a process that reads"),
    ],
)
def test_it_is_told_of(pool, illness, message):
    began = time.monotonic()
    with pytest.raises(Reported, match=message) as told:
        list(pool.answer(["well", illness, "well"]))
    assert told.value.exit_code == 1
    assert time.monotonic() - began < 20


def test_a_bug_keeps_its_traceback(pool):
    with pytest.raises(KeyError, match="a bug"):
        next(pool.answer(["raise"]))


def test_a_run_whose_reader_is_killed_ends_with_a_line(lab, tmp_path, monkeypatch, capsys):
    def dies(transform: RandomVerticalFlip, image: object) -> object:
        if os.getpid() != PARENT:  # the config's check calls it in this process
            os.kill(os.getpid(), signal.SIGKILL)
        return image

    monkeypatch.setattr(RandomVerticalFlip, "forward", dies)
    dataset = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 52}
    loader = {"type": "TorchLoader", "batch_size": 8, "num_workers": 1, "dataset": dataset}
    path = lab.write(tmp_path, train_dataloader={**loader, "pipeline": [{"type": "RandomVerticalFlip"}]})
    assert run_command("train", [path, "--work-dir", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: DataLoader worker") and "a process that reads images" in said
    assert said.count("\n") == 1
