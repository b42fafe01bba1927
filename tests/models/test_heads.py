"""Heads: logits, initialisation, and the loss on plain and on mixed labels."""

import pytest
import torch
from torch.nn import functional as F

from openmix.models import ClsHead, ClsMixupHead
from openmix.ops.target import MixTarget


def test_logits_are_linear():
    head, pooled = ClsHead(4, 6), torch.rand(3, 6)
    torch.testing.assert_close(head(pooled), pooled @ head.fc.weight.T + head.fc.bias)
    assert head.num_classes == 4


def test_initialisation():
    torch.manual_seed(0)
    head = ClsHead(100, 512)
    assert not head.fc.bias.any()
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert head.fc.weight.mean().item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("head", [ClsHead, ClsMixupHead])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses(head, smoothing, dtype):
    """In float32, whatever the logits' type."""
    head = head(4, 6, label_smoothing=smoothing)
    logits, labels = (torch.randn(5, 4) * 3).to(dtype), torch.tensor([0, 1, 2, 3, 0])
    plain = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
    torch.testing.assert_close(head.loss(logits, labels), plain)
    weights = torch.rand(5, 1)
    target = MixTarget(torch.stack([labels, labels.flip(0)], dim=1), torch.cat([weights, 1 - weights], dim=1))
    mixed = F.cross_entropy(logits.float(), target.soft(4), label_smoothing=smoothing)
    torch.testing.assert_close(head.loss(logits, target), mixed)
    assert head.loss(logits, target).dtype == torch.float32


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match="label_smoothing must be in"):
        ClsHead(4, 6, label_smoothing=smoothing)
