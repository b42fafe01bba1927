"""What a trial may allocate, and configs that ask for more."""

import time

import pytest
import torch

from openmix.engine.budget import Budget, TooLargeError, memory_of_machine
from openmix.engine.config import load_config
from openmix.errors import UserError


class TestBudget:
    def test_bytes_add_up_to_the_limit(self):
        with Budget("it", limit=800):
            torch.empty(100)
            torch.zeros(100)
            with pytest.raises(TooLargeError, match="it needs more than the machine's memory"):
                torch.ones(1)

    def test_the_meta_device_counts(self):
        with pytest.raises(TooLargeError), Budget("it", limit=10**12), torch.device("meta"):
            torch.nn.Linear(10**6, 10**6)

    def test_results_count_alone(self):
        x = torch.ones(10)
        with Budget("it", limit=400):
            for _ in range(100):
                x = x + 1
            with pytest.raises(TooLargeError):
                x.expand(11, 10).clone()

    def test_endless_work_ends(self, monkeypatch):
        monkeypatch.setattr("openmix.engine.budget.MOST_CALLS", 50)
        x = torch.ones(1)
        with pytest.raises(TooLargeError, match="more than 50 operations"), Budget("it"):
            while True:
                x = x + 1

    def test_the_machine(self):
        assert 2**28 < memory_of_machine() < 2**50


@pytest.mark.parametrize("size", [10**9, 10**10, 10**12, 10**30])
@pytest.mark.parametrize(
    "key",
    [
        "model.head.num_classes", "model.backbone.in_channels", "model.backbone.widths", "train_dataloader.num_workers",
        "train_dataloader.dataset.num_classes", "val_dataloader.dataset.image_shape",
    ],
)  # fmt: skip
def test_bombs_end_in_a_message(lab, tmp_path, key, size):
    value = {"widths": [4, size], "image_shape": [1, size, size]}.get(key.rpartition(".")[2], size)
    start = time.monotonic()
    path = lab.write(tmp_path, train_dataloader={"type": "TorchLoader", **LOADER})
    with pytest.raises(UserError) as error:
        load_config(path, {key: value})
    assert time.monotonic() - start < 10
    assert "frame #" not in str(error.value) and len(str(error.value)) < 1000


LOADER = {"batch_size": 8, "dataset": {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 52}}


@pytest.mark.parametrize("key, value", [
    ("optim_wrapper.optimizer.lr", float("nan")), ("optim_wrapper.optimizer.lr", 1e308),
    ("optim_wrapper.paramwise_cfg", {"custom_keys": {"head": {"lr_mult": 1e300}}}),
    ("param_scheduler", [{"type": "OneCycleLR", "max_lr": 1e300}]),
])  # fmt: skip
def test_numbers_that_float32_has_not(lab, tmp_path, key, value):
    """torch would raise in the first step, from C++."""
    with pytest.raises(UserError, match=r"must be a number of float32|Invalid learning rate"):
        load_config(lab.write(tmp_path), {key: value})


@pytest.mark.parametrize("key", [
    "model", "train_dataloader", "val_dataloader", "optim_wrapper.optimizer", "model.head.loss", "model.backbone",
])  # fmt: skip
def test_a_list_where_one_part_stands(lab, tmp_path, key):
    with pytest.raises(UserError, match="must be "):
        load_config(lab.write(tmp_path), {key: [{"type": "SGD"}, {"type": "SGD"}]})
