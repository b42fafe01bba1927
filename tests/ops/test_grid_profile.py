"""Dynamic programming over broken profiles against trying every labeling."""

import runpy
from pathlib import Path

import pytest
import torch

from openmix.ops.grid_energy import GridEnergy
from openmix.ops.grid_profile import minimise_by_profile

INSTANCES = runpy.run_path(str(Path(__file__).with_name("grid_instances.py")))
any_energy, brute_force = INSTANCES["any_energy"], INSTANCES["brute_force"]


@pytest.mark.parametrize("strength", [0.05, 0.5, 5.0])
@pytest.mark.parametrize(("n", "n_labels"), [(1, 2), (1, 4), (2, 2), (2, 3), (2, 4), (3, 2), (3, 3), (4, 2)])
def test_no_labeling_is_better(n, n_labels, strength):
    e = any_energy(8, n, n_labels, seed=n, strength=strength)
    torch.testing.assert_close(e.of(minimise_by_profile(e)), brute_force(e), rtol=1e-6, atol=0)


def test_no_labeling_of_four_labels_is_better():
    e = any_energy(2, 3, 4)
    torch.testing.assert_close(e.of(minimise_by_profile(e)), brute_force(e), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("n", "n_labels"), [(5, 3), (8, 3), (4, 4), (8, 2)])
def test_a_grid_turned_has_the_same_minimum(n, n_labels):
    # rows and columns play different parts in it
    e = any_energy(6, n, n_labels, strength=1.0)
    turned = GridEnergy(e.unary.transpose(1, 2), e.down.transpose(1, 2), e.right.transpose(1, 2))
    one, other = minimise_by_profile(e), minimise_by_profile(turned)
    torch.testing.assert_close(e.of(one), turned.of(other), rtol=1e-6, atol=0)
    assert torch.equal(one, other.transpose(1, 2)), "and the minimum is one labeling, in random energies"


def test_no_change_of_one_or_two_cells_is_better():
    e = any_energy(4, 8, 3, strength=0.5)
    labels = minimise_by_profile(e)
    least = e.of(labels)
    g = torch.Generator().manual_seed(0)
    for _ in range(300):
        changed = labels.clone()
        for _ in range(2):
            i, j, label = (int(torch.randint(m, (), generator=g)) for m in (8, 8, 3))
            changed[:, i, j] = label
        assert (e.of(changed) >= least - 1e-6).all()
