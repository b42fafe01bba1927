"""Rows and bars of the end-to-end part, from times that are known."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openmix.bench import training
from openmix.bench.recipe import Recipe
from openmix.bench.report import Options, markdown
from openmix.data.sources import Synthetic
from openmix.models import ConvNet

CPU = torch.device("cpu")


@pytest.fixture
def tiny() -> Recipe:
    return Recipe(lambda: ConvNet([4]), Synthetic(10, (3, 8, 8), 64), 8, CPU, padding=1, flip=True, alpha=1.0)


def test_ratios_are_of_one_turn_and_the_warm_up_does_not_count(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"openmix": [1.0, 2.0, 4.0], "bare": [1.0, 1.0, 2.0], "timm": [2.0, 2.0, 2.0], "torchvision": [4.0] * 3}

    def train(self: Recipe, hooks: list[Any], steps: int) -> None:
        assert steps == 3 + training.WARMUP + 1
        hooks[0].seconds = {name: [99.0] * training.WARMUP + values for name, values in times.items()}

    monkeypatch.setattr(Recipe, "train", train)
    rows = {row["loop"]: row for row in training.compare("tiny", tiny, 3)}
    assert rows["openmix"]["images_per_s"] == 8 / 2.0 and "ratio" not in rows["openmix"]
    assert [rows[name]["ratio"] for name in ("bare", "timm", "torchvision")] == [2.0, 1.0, 0.5]
    assert {name: row["step_s_values"] for name, row in rows.items()} == times
    assert (rows["bare"]["low"], rows["bare"]["high"], rows["bare"]["turns"]) == (1.0, 2.0, 3)


@pytest.mark.parametrize(("ratio", "high", "met"), [(1.01, 1.03, True), (1.011, 1.02, False), (1.0, 1.031, False)])
def test_a_bar_bounds_the_median_and_the_interval(ratio: float, high: float, met: bool) -> None:
    assert training._bar({"case": "c", "ratio": ratio, "low": 0.9, "high": high, "turns": 25}).met is met


def test_the_part_on_a_tiny_network(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [("tiny, float32", tiny), ("tiny, bfloat16", replace(tiny, bf16=True))]
    monkeypatch.setattr(training, "_recipes", lambda options: iter(cases))
    section = training.run(Options(CPU, quick=True, say=lambda line: None))
    assert [row["loop"] for row in section.rows] == ["openmix", "bare", "timm", "torchvision"] * 2
    assert len(section.bars) == 2
    page = markdown(section)
    assert page.count("| tiny, bfloat16 |") == 4 and "{" not in section.how


def test_recipes_are_of_the_sizes_that_they_name() -> None:
    recipe = training.imagenet_recipe(Options(CPU), 2)
    assert recipe.source.image_shape == (3, 224, 224) and recipe.source.num_classes == 1000
    assert len(recipe.task().state_dict()) == 320  # of ResNet-50
    recipe = training.cifar_recipe(Options(CPU), 4)
    assert recipe.source.image_shape == (3, 32, 32)
    _, batch = next(iter(recipe.loader().epoch(0)))
    assert batch.images.shape == recipe.batches()()[0].shape == (4, 3, 32, 32)


def test_with_data_the_images_are_cifar10(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        rows = {b"data": np.full((3, 3072), i, dtype=np.uint8), b"labels": [i, i, i]}
        (folder / name).write_bytes(pickle.dumps(rows))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [f"class {c}".encode() for c in range(10)]}))
    source = training.cifar_recipe(Options(CPU, tmp_path), 4).source
    assert source.labels.tolist() == [i for i in range(5) for _ in range(3)]  # the training set
    assert source.images[:, 0, 0, 0].tolist() == source.labels.tolist()


@pytest.mark.slow
def test_the_part_as_it_is() -> None:
    section = training.run(Options(CPU, quick=True, say=lambda line: None))
    assert len(section.rows) == 16 and all(0 < row["step_s"] < 60 for row in section.rows)
