"""Contrastive tasks on two processes against one that has their images, and where their keys go."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from openmix.ops.random import generator_for
from tests.tasks.ranks_contrastive import ACCUMULATING, GATHERING, IMAGES, batch_of, normed

SCRIPT = Path(__file__).with_name("ranks_contrastive.py")


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, Any]:
    """Return by process, '0', '1' and 'alone', what it has computed."""
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run([sys.executable, SCRIPT, folder, "tasks"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {name: torch.load(folder / f"{name}.pt") for name in ("0", "1", "alone")}


@pytest.mark.parametrize("name", ACCUMULATING)
def test_two_processes_equal_one_that_accumulates_two(name, seen):
    """Bit for bit: losses, gradients, and after 4 steps weights, momentum encoder and queue."""
    alone = seen["alone"][name]
    assert alone["state"].keys() == seen["0"][name]["state"].keys()
    for rank in ("0", "1"):
        two = seen[rank][name]
        assert [loss.item() for loss in two["losses"]] == [loss.item() for loss in alone["losses"][int(rank) :: 2]]
        for part in ("gradients", "state"):
            assert [key for key, value in two[part].items() if not torch.equal(value, alone[part][key])] == []
    if name.startswith("MoCo"):
        pushed = 4 * 2 * IMAGES * (2 if "symmetric" in name else 1)
        assert alone["state"]["queue.place"] == pushed % 7
        assert not any(key.startswith(("teacher", "queue")) for key in alone["gradients"])


def test_keys_enter_the_queue_in_the_order_of_shards(seen):
    """Of two processes that accumulate two each, as of one that accumulates four."""
    alone = seen["alone"]["four"]["state"]
    for rank in ("0", "1"):
        for key, value in seen[rank]["four"]["state"].items():
            torch.testing.assert_close(value, alone[key], rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", GATHERING)
def test_gradients_of_what_processes_gather_are_those_of_the_whole_batch(name, seen):
    """Of the first step, and so the weights after four; the whole batch's loss is the mean of theirs."""
    alone = seen["alone"][name]
    for rank in ("0", "1"):
        two = seen[rank][name]
        assert two["gradients"].keys() == alone["gradients"].keys()
        for part in ("gradients", "state"):
            for key, value in two[part].items():
                torch.testing.assert_close(value, alone[part][key], rtol=1e-4, atol=1e-6, msg=f"{part} {key}")
    means = [(a + b) / 2 for a, b in zip(seen["0"][name]["losses"], seen["1"][name]["losses"], strict=True)]
    torch.testing.assert_close(means, alone["losses"], rtol=1e-5, atol=1e-6)
    largest = max(gradient.abs().max().item() for gradient in alone["gradients"].values())
    assert largest > 1e-2  # so that 1e-6 says something


def encoded(parts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the keys of some images, each part through a momentum encoder of its own, and its running means."""
    keys, means = [], []
    for part in parts:
        teacher = normed().teacher
        projected = teacher["projector"](teacher["neck"](teacher["backbone"](part)))
        keys.append(nn.functional.normalize(projected, dim=1))
        means.append(teacher.get_submodule("backbone.layer1.1").running_mean)
    return torch.cat(keys), means


@torch.no_grad()
def test_keys_are_computed_among_other_processes_images_and_come_back_in_order(seen):
    images = batch_of([0, 1], 3, 2).views[1]
    order = torch.randperm(2 * IMAGES, generator=generator_for(0, "shuffle 1", 3, 0))
    keys, means = encoded(list(images[order].chunk(2)))
    found = torch.cat([seen[rank]["shuffled"]["keys"] for rank in ("0", "1")])
    torch.testing.assert_close(found, keys[order.argsort()])
    torch.testing.assert_close([seen[rank]["shuffled"]["mean"] for rank in ("0", "1")], means)
    in_order = torch.cat([seen[rank]["in order"]["keys"] for rank in ("0", "1")])
    torch.testing.assert_close(in_order, encoded(list(images.chunk(2)))[0])
    assert (found - in_order).abs().max() > 1e-2


@torch.no_grad()
def test_keys_may_be_normalised_over_all_processes(seen):
    """``key_splits=0``: BatchNorm of the whole batch."""
    keys, (mean,) = encoded([batch_of([0, 1], 3, 2).views[1]])
    for rank in range(2):
        found = seen[str(rank)]["over all"]
        torch.testing.assert_close(found["keys"], keys[IMAGES * rank : IMAGES * (rank + 1)], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["mean"], mean)


def test_the_queue_is_not_sent_at_every_forward_pass(seen):
    """Each process has filled its own with its rank, which it would have lost."""
    for rank in range(2):
        assert (seen[str(rank)]["shuffled"]["queue"] == rank).all()
