"""A run over damaged files: it goes on, names each once, counts them, resumes exactly, and stops at too many."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmix.engine.damage import DamageLog
from openmix.engine.distributed import World
from openmix.engine.run import test as evaluate_checkpoint
from openmix.errors import UserError

BROKEN = ("a/3.jpg", "b/0.jpg", "b/11.jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """24 small photographs of two classes, of which three are broken: cut off, empty, and text."""
    root = tmp_path_factory.mktemp("broken")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for i in range(12):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(file, "JPEG")
            (root / name / f"{i}.jpg").write_bytes(file.getvalue())
    cut, empty, text = (root / name for name in BROKEN)
    cut.write_bytes(cut.read_bytes()[:-60])
    empty.write_bytes(b"")
    text.write_text("<html>not found</html>")
    return root


@pytest.fixture
def config(lab, folder, tmp_path) -> str:
    """A config of 2 epochs of 6 steps over them."""
    loader = {
        "type": "TorchLoader",
        "dataset": {"type": "ImageFolder", "data_root": str(folder)},
        "pipeline": [{"type": "RandomResizedCrop", "size": 8}],
    }
    return lab.write(
        tmp_path,
        data_preprocessor={"mean": [0.5], "std": [0.25]},
        model={"backbone": {"in_channels": 3}, "head": {"num_classes": 2}},
        train_dataloader={"batch_size": 4, **loader},
        val_dataloader={"batch_size": 5, **loader},
    )


def test_each_is_named_once_and_counted(lab, config, folder, tmp_path):
    metrics = lab.train(config, tmp_path / "run")
    records = lab.records(tmp_path / "run")
    # every epoch meets each of them once; intervals end at steps 4, 6, 8, 12
    train = [record.get("damaged", 0) for record in records if record["split"] == "train"]
    assert sum(train) == 6 and sum(train[:2]) == 3
    assert [record["damaged"] for record in records if record["split"] == "val"] == [3, 3]
    assert metrics["damaged"] == 3 and metrics["n"] == 24
    log = (tmp_path / "run" / "train.log").read_text()
    for name in BROKEN:
        # one line in training, one in validation
        assert log.count(f"damaged image, the next one takes its place: {folder / name} ") == 2


@pytest.mark.parametrize("stop_after", [1, 2, 5, 6, 7])
def test_resumed_within_an_interval_the_counts_are_the_same(lab, config, tmp_path, stop_after):
    lab.train(config, tmp_path / "whole")
    assert lab.train(config, tmp_path / "cut", stop_after=stop_after) is None
    lab.train(config, tmp_path / "cut", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_evaluation_says_so(lab, config, tmp_path, capsys):
    lab.train(config, tmp_path / "run")
    checkpoint = str(tmp_path / "run" / "checkpoints" / "last.pth")
    assert evaluate_checkpoint(lab.load(config, tmp_path / "run"), checkpoint, World())["damaged"] == 3
    assert capsys.readouterr().out.count("damaged image, the next one takes its place") == 3


def test_too_many_end_the_run_with_the_first_that_is_too_much(lab, config, tmp_path):
    with pytest.raises(UserError, match=r"that makes 3 damaged images, more than max_damaged=2"):
        lab.train(config, tmp_path / "run", train_dataloader__max_damaged=2)


def test_two_processes_count_together(lab, config, ranks, tmp_path):
    for size, run in ((1, "one"), (2, "two")):
        overrides = {
            "work_dir": str(tmp_path / run),
            "train_dataloader.batch_size": 4 // size,
            "model.mix_mode": "vanilla",
        }
        ranks(size, "train_config", config=config, overrides=overrides)
    counts = [
        [(r["step"], r["split"], r.get("damaged")) for r in lab.records(tmp_path / run)] for run in ("one", "two")
    ]
    assert counts[0] == counts[1] and sum(n or 0 for _, _, n in counts[0]) == 12


def test_a_total_is_restored_once():
    for rank, expected in ((0, 5), (1, 0)):
        log = DamageLog(logging.getLogger(), World(rank, 2))
        log.restore(5)
        assert log.count == expected


def test_every_micro_batch_counts(lab, config, tmp_path):
    lab.train(config, tmp_path / "run", train_dataloader__batch_size=2, optim_wrapper__accumulative_counts=2)
    assert sum(r.get("damaged", 0) for r in lab.records(tmp_path / "run") if r["split"] == "train") == 6
