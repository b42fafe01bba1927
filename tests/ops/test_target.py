"""The sparse soft label against a loop."""

import pytest
import torch

from openmix import MixTarget


@pytest.mark.parametrize("k", [1, 2, 4])
def test_soft_is_the_weighted_sum_of_one_hots(k):
    generator = torch.Generator().manual_seed(k)
    labels = torch.randint(5, (12, k), generator=generator)
    weights = torch.rand(12, k, generator=generator)
    wanted = torch.zeros(12, 5, dtype=torch.float64)
    for b in range(12):
        for i in range(k):
            wanted[b, labels[b, i]] += float(weights[b, i])
    soft = MixTarget(labels, weights).soft(5)
    assert soft.shape == (12, 5) and soft.dtype == torch.float32
    torch.testing.assert_close(soft.double(), wanted, rtol=1e-6, atol=1e-6)


def test_equal_labels_add_up():
    target = MixTarget(torch.tensor([[3, 3], [0, 1]]), torch.tensor([[0.25, 0.75], [0.25, 0.75]]))
    assert target.soft(4).tolist() == [[0, 0, 0, 1], [0.25, 0.75, 0, 0]]


def test_more_classes_than_labels_are_zero():
    target = MixTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    assert target.soft(1000)[0, 2:].count_nonzero() == 0


def test_fields_by_name_and_in_order():
    labels, weights = torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]])
    target = MixTarget(labels, weights)
    assert target.labels is labels and target.weights is weights
    assert MixTarget(labels=labels, weights=weights).soft(2).tolist() == [[0.5, 0.5]]


def test_a_label_beyond_the_classes_is_an_error():
    target = MixTarget(torch.tensor([[0, 5]]), torch.tensor([[0.5, 0.5]]))
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        target.soft(5)


def test_shapes_that_differ_are_an_error():
    with pytest.raises((ValueError, RuntimeError)):
        MixTarget(torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 1)).soft(4)


def test_soft_makes_a_new_tensor():
    weights = torch.tensor([[0.5, 0.5]])
    target = MixTarget(torch.tensor([[0, 1]]), weights)
    target.soft(2).zero_()
    assert weights.tolist() == [[0.5, 0.5]]
