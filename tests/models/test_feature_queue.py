"""The queue against a deque."""

from collections import deque

import pytest
import torch
from torch.nn import functional as F

from openmix.errors import UserError
from openmix.models.feature_queue import FeatureQueue


def in_order(queue: FeatureQueue) -> torch.Tensor:
    """Return the features, the oldest first."""
    return queue.features.roll(-int(queue.place), 0)


@pytest.mark.parametrize("counts", [[3] * 9, [7] * 3, [1, 2, 5, 7, 6], [8, 1, 20, 3], [0, 4, 14, 21, 30]])
def test_three_times_around_with_any_batch(counts):
    """Of 7 places; batches may be larger than the queue."""
    assert sum(counts) >= 21
    queue = FeatureQueue(7, 4)
    expected = deque(queue.features.clone(), maxlen=7)
    generator = torch.Generator().manual_seed(0)
    for count in counts:
        features = torch.randn(count, 4, generator=generator) * 5
        queue.push(features)
        expected.extend(F.normalize(features, dim=1))
        torch.testing.assert_close(in_order(queue), torch.stack(list(expected)), rtol=0, atol=1e-7)
    assert queue.place == sum(counts) % 7


def test_it_begins_with_random_directions_of_the_seed():
    torch.manual_seed(3)
    queue = FeatureQueue(1000, 8)
    torch.testing.assert_close(queue.features.norm(dim=1), torch.ones(1000))
    assert queue.features.mean(0).abs().max() < 0.06
    torch.manual_seed(3)
    assert torch.equal(FeatureQueue(1000, 8).features, queue.features)
    assert not list(queue.parameters())


def test_what_is_pushed_is_data():
    queue = FeatureQueue(3, 2)
    features = torch.randn(2, 2, requires_grad=True)
    queue.push(features)
    assert not queue.features.requires_grad
    features.data.zero_()
    torch.testing.assert_close(queue.features.norm(dim=1), torch.ones(3))


def test_its_state_goes_into_a_checkpoint():
    queue, other = FeatureQueue(5, 2), FeatureQueue(5, 2)
    queue.push(torch.randn(3, 2))
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.push(torch.eye(2))
    assert torch.equal(queue.features, other.features)
    assert list(queue.state_dict()) == ["features", "place"]


def test_half_precision_is_scaled_in_float32():
    queue = FeatureQueue(2, 3)
    queue.push(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16))
    torch.testing.assert_close(queue.features[0], F.normalize(torch.tensor([1.0, 2.0, 3.0]), dim=0))


def test_a_queue_without_places():
    with pytest.raises(ValueError, match="queue_size must be an integer of at least 1, got 0"):
        FeatureQueue(0, 4)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("place", torch.tensor(3), "place is 3, not in \\[0, 3\\)"),
        ("place", torch.tensor(-1), "place is -1, not in"),
        ("features", torch.full((3, 2), 2.0), "features are longer than 1"),
    ],
)
def test_what_no_run_saved_is_refused(name, value, said):
    queue = FeatureQueue(3, 2)
    with pytest.raises(UserError, match=said):
        queue.load_state_dict({**queue.state_dict(), name: value})
    queue.load_state_dict({**queue.state_dict(), "features": torch.zeros(3, 2)})
