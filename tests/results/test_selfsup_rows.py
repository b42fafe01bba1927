"""Runs that learn without labels in a table: what they are called, compared with, and what was published of them."""

import json
from pathlib import Path

import pytest

from openmix.engine.config import config_text
from openmix.results.naming import label, plain_method
from openmix.results.published import lookup
from openmix.results.published.matching import published_like
from openmix.results.reading import read_table

VIEW = [{"type": "RandomResizedCrop", "size": 32}]
CROPMIX = [{"type": "CropMixPair", "size": 32, "pipeline": [{"type": "RandomHorizontalFlip"}]}]
SCALEMIX = [{"type": "ScaleMix", "size": 32, "pipeline": []}]


def config(kind="MoCo", query=(), epochs=200, **model):
    return {
        "model": {"type": kind, "backbone": {"type": "ResNet_CIFAR", "depth": 18}, **model},
        "train_dataloader": {
            "type": "ResidentLoader", "dataset": {"type": "CIFAR10"},
            "pipeline": [{"type": "Views", "views": [list(query) or VIEW, VIEW]}],
        },
        "train_cfg": {"max_epochs": epochs}, "randomness": {"seed": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        ({}, "moco"),
        ({"symmetric": True}, "moco"),
        ({"query": CROPMIX}, "moco+cropmix"),
        ({"query": SCALEMIX}, "moco+scalemix"),
        ({"kind": "MoCoV3"}, "mocov3"),
        ({"kind": "SimSiam", "query": CROPMIX}, "simsiam+cropmix"),
        ({"kind": "SimCLR"}, "simclr"),
        ({"kind": "MAE", "query": [{"type": "CropMix"}]}, "mae+cropmix"),
        ({"kind": "LinearProbe"}, "linear-probe"),
        ({"kind": "Classification"}, "vanilla"),
        ({"kind": "Classification", "query": [{"type": "CropMix"}, *CROPMIX]}, "cropmix"),
    ],
)
def test_names(arguments, method):
    assert label(config(**arguments)).method == method


def test_what_a_method_is_compared_with():
    assert [plain_method(m) for m in ("moco", "moco+cropmix", "mae+cropmix", "linear-probe+cropmix")] == [
        "moco", "moco", "mae", "linear-probe",
    ]  # fmt: skip
    assert {plain_method(m) for m in ("vanilla", "mixup", "mixup+cutmix", "cropmix", "smoothmix")} == {"vanilla"}


@pytest.mark.parametrize(
    ("arguments", "metric", "printed"),
    [
        ({}, "top1_knn", ["82.6"]),
        ({"epochs": 800}, "top1_knn", ["88.7"]),
        ({"symmetric": True}, "top1_knn", ["85.3", "83.8", "84.7"]),
        ({"symmetric": False}, "top1_knn", ["82.6"]),
        ({"query": CROPMIX}, "top1_knn", []),
        ({"kind": "SimSiam", "epochs": 800}, "top1_knn", ["90.4", "90.3"]),
        ({"kind": "SimSiam", "epochs": 800, "symmetric": False}, "top1_knn", []),
        ({"kind": "SimCLR", "epochs": 1000}, "top1", ["90.74"]),  # of a probe trained beside, as a run's own is
        ({"kind": "SimCLR", "epochs": 1000}, "top5", []),
        ({"kind": "LinearProbe", "epochs": 100}, "top1", []),
    ],
)
def test_what_was_published_of_the_same(arguments, metric, printed):
    own = config(**arguments)
    assert [figure.printed for figure in published_like(own, label(own), metric)] == printed


def test_fine_tuned_figures_are_not_those_of_training():
    """A run of a ViT-B from scratch must not be held against one that MAE pre-trained."""
    fine_tuned = [f for f in lookup("imagenet", "vit-b") if f.metric == "finetuned_top1"]
    assert len(fine_tuned) == 3 + 3 + 4
    assert not [f for f in lookup("imagenet", "vit-b") if f.metric == "top1" and f.recipe.startswith("mae")]


def write_run(folder: Path, own: dict, seed: int, knn: float) -> None:
    folder.mkdir(parents=True)
    (folder / "config.py").write_text(config_text({**own, "randomness": {"seed": seed}, "work_dir": str(folder)}))
    record = {
        "schema": 1, "config": "x.py", "config_hash": "0" * 16, "git_commit": "c" * 40, "seed": seed, "world_size": 1,
        "threads": 1, "device": "CPU", "versions": {}, "status": "done", "start_time": "2026-01-01T00:00:00+0000",
        "end_time": "2026-01-01T00:10:00+0000", "resumed_at": None,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    epochs = own["train_cfg"]["max_epochs"]
    line = {"split": "val", "epoch": epochs, "step": epochs, "top1": 40.0, "nll": 1.0, "n": 100, "top1_knn": knn}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")


def test_a_table_of_knn_compares_with_the_plain_loss(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"moco{seed}", config(), seed, 80.0 + seed)
        write_run(tmp_path / f"cropmix{seed}", config(query=CROPMIX), seed, 81.0 + seed)
        write_run(tmp_path / f"simclr{seed}", config("SimCLR"), seed, 70.0)
    table = read_table([tmp_path], metric="top1_knn")
    assert [(row.group.name, row.baseline) for row in table.rows] == [
        ("moco", "moco"), ("simclr", "simclr"), ("moco+cropmix", "moco"),
    ]  # fmt: skip
    plain, _, cropmix = (row.figures["last"] for row in table.rows)
    assert (plain.mean, cropmix.mean) == (81.0, 82.0)
    assert cropmix.difference is not None and cropmix.difference.mean == pytest.approx(1.0)
    assert [f.printed for f in table.rows[0].published] == ["82.6"]
