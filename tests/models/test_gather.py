"""Gathering and shuffling, in one process and in two."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from openmix.models.gather import Shuffle, gather, processes

SCRIPT = Path(__file__).parents[1] / "tasks/ranks_contrastive.py"


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> list[dict[str, Any]]:
    """Return what two processes have seen."""
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run([sys.executable, SCRIPT, folder, "gather"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def own(rank: int) -> torch.Tensor:
    return torch.arange(6.0).view(3, 2) + 10 * rank


EVERYONE = torch.cat([own(0), own(1)])


def test_one_process_exchanges_nothing():
    rows = torch.randn(3, 2, requires_grad=True)
    assert processes() == (0, 1)
    assert gather(rows, gradient=True).rows is rows
    assert not gather(rows).rows.requires_grad
    assert gather(rows).first == 0


def test_rows_are_those_of_all_in_the_order_of_ranks(both):
    for rank, seen in enumerate(both):
        assert torch.equal(seen["rows"], EVERYONE)
        assert torch.equal(seen["data"], EVERYONE)
        assert seen["data takes none"]
        assert seen["first"] == [3 * rank, 3 * rank]


def test_the_gradient_is_the_sum_of_what_all_losses_have_for_a_row(both):
    weights = [torch.randn(6, 2, generator=torch.Generator().manual_seed(rank)) for rank in range(2)]
    total = 2 * EVERYONE * sum(weights)
    for rank, seen in enumerate(both):
        torch.testing.assert_close(seen["gradient"], total[3 * rank : 3 * rank + 3])


def test_images_change_places_among_processes_and_come_back(both):
    dealt = torch.cat([seen["dealt"] for seen in both])
    order = torch.randperm(6, generator=torch.Generator().manual_seed(7))
    assert torch.equal(dealt, EVERYONE[order])
    assert not torch.equal(dealt[:3].sort(0).values, own(0))  # some of them are the other's
    for rank, seen in enumerate(both):
        assert torch.equal(seen["returned"], own(rank) + 0.5)


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_images_of_one_process_change_places_and_come_back(count):
    images = torch.randn(count, 3)
    shuffle = Shuffle(count, torch.Generator().manual_seed(count), torch.device("cpu"))
    dealt = shuffle.dealt(images)
    assert torch.equal(dealt, images[torch.randperm(count, generator=torch.Generator().manual_seed(count))])
    assert torch.equal(shuffle.returned(dealt), images)
