"""A network trains from RecordIO through DALI on a CPU: on one process and two, interrupted and resumed."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmix.data.recordio import ImageHeader, pack_image, write_records
from openmix.engine.distributed import World
from openmix.engine.run import dry_run
from openmix.engine.trial import check_build

pytest.importorskip("nvidia.dali", reason="DALI is not installed")


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    """48 photographs of two classes: dark ones with a light stripe, and the other way round. One is cut off."""
    path = tmp_path_factory.mktemp("records") / "train.rec"
    rng = np.random.default_rng(0)

    def photograph(label: int) -> bytes:
        pixels = rng.integers(0, 90, (40, 52, 3), dtype=np.uint8) + 160 * np.uint8(label)
        pixels[:, 20:26] = 250 - 250 * label
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        return file.getvalue()

    images = [photograph(i % 2) for i in range(48)]
    images[31] = images[31][:-50]
    write_records(str(path), [(i, pack_image(ImageHeader(i, float(i % 2)), image)) for i, image in enumerate(images)])
    return path


@pytest.fixture
def config(lab, records, tmp_path) -> str:
    dataset = {"type": "RecordIO", "path": str(records)}
    return lab.write(
        tmp_path,
        data_preprocessor={"mean": [0.5], "std": [0.25]},
        model={"backbone": {"type": "ResNet_CIFAR", "depth": 18}, "head": {"num_classes": 2}},
        train_dataloader={
            "type": "DaliLoader",
            "batch_size": 8,
            "dataset": dataset,
            "pipeline": [
                {"type": "RandomResizedCrop", "size": 16, "scale": [0.5, 1.0]},
                {"type": "RandomHorizontalFlip"},
            ],
        },
        val_dataloader={
            "type": "DaliLoader",
            "batch_size": 10,
            "dataset": dataset,
            "pipeline": [{"type": "Resize", "size": 20}, {"type": "CenterCrop", "size": 16}],
        },
        optim_wrapper={"optimizer": {"lr": 0.02}},
        train_cfg={"max_epochs": 3},
    )


def test_it_learns(lab, config, tmp_path):
    metrics = lab.train(config, tmp_path / "run", model__mix_mode="vanilla")
    assert metrics["n"] == 48 and metrics["damaged"] == 1
    assert metrics["top1"] > 90


@pytest.mark.parametrize("stop_after", [1, 6, 10])
def test_interrupted_and_resumed(lab, config, tmp_path, stop_after):
    small = {"type": "ConvNet", "widths": [4, 8]}  # whose checkpoints are written faster
    short = {"train_cfg__max_epochs": 2, "model__backbone": {**small, "_delete_": True}}
    lab.train(config, tmp_path / "whole", **short)
    assert lab.train(config, tmp_path / "cut", stop_after=stop_after, **short) is None
    lab.train(config, tmp_path / "cut", resume=True, train_dataloader__num_workers=1, **short)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_two_processes_train_as_one_that_accumulates_two(lab, config, ranks, tmp_path):
    overrides = {"train_cfg.max_epochs": 2, "train_dataloader.batch_size": 4}
    ranks(2, "train_config", config=config, overrides={**overrides, "work_dir": str(tmp_path / "two")})
    accumulated = {**overrides, "optim_wrapper.accumulative_counts": 2, "work_dir": str(tmp_path / "one")}
    ranks(1, "train_config", config=config, overrides=accumulated)
    losses = [
        [(r["step"], r["loss"], r.get("damaged")) for r in lab.records(tmp_path / run) if r["split"] == "train"]
        for run in ("one", "two")
    ]
    assert [(step, damaged) for step, _, damaged in losses[0]] == [(step, damaged) for step, _, damaged in losses[1]]
    # the mean of several steps and processes is summed in another order
    assert [loss for _, loss, _ in losses[0]] == pytest.approx([loss for _, loss, _ in losses[1]], rel=1e-6)
    assert sum(damaged or 0 for _, _, damaged in losses[0]) == 2


def test_dalis_own_readers_are_checked_and_trained_on(lab, config, tmp_path):
    """Their dry run is DaliLoader's, as they take no random images."""
    whole = tmp_path / "whole.rec"
    rng = np.random.default_rng(0)
    images = []
    for i in range(24):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(file, "JPEG")
        images.append((i, pack_image(ImageHeader(i, float(i % 2)), file.getvalue())))
    write_records(str(whole), images)
    readers = {
        "train_dataloader__type": "DaliReaderLoader",
        "train_dataloader__dataset__path": str(whole),
        "val_dataloader__dataset__path": str(whole),
        "model__backbone": {"type": "ConvNet", "widths": [4, 8], "_delete_": True},
        "train_cfg__max_epochs": 2,
    }
    cfg = lab.load(config, tmp_path / "run", **readers)
    assert check_build(cfg) == []
    assert dry_run(cfg, str(tmp_path / "dry"), World()) == []
    assert lab.train(config, tmp_path / "run", **readers)["n"] == 24
    assert lab.state(tmp_path / "run")["step"] == 6
