"""Heads: their start, their logits, their losses."""

import math

import pytest
import torch

from openmix.models import ClsHead, ClsMixupHead
from openmix.ops.target import MixTarget

HEADS = [ClsHead, ClsMixupHead]


def naive(logits, soft):
    """Mean over images of ``-sum_c soft_c log p_c``, in Python."""
    total = 0.0
    for row, target in zip(logits.tolist(), soft, strict=True):
        log_z = math.log(sum(math.exp(v) for v in row))
        total -= sum(t * (v - log_z) for v, t in zip(row, target, strict=True))
    return total / len(logits)


def smoothed(labels, classes, share, weights=None):
    """Soft labels: (1 - share) of the weighted labels and share spread over all classes."""
    rows = []
    for i, own in enumerate(labels.tolist()):
        own = own if isinstance(own, list) else [own]
        w = weights[i].tolist() if weights is not None else [1.0]
        row = [share / classes] * classes
        for c, weight in zip(own, w, strict=True):
            row[c] += (1 - share) * weight
        rows.append(row)
    return rows


@pytest.mark.parametrize("head", HEADS)
def test_initial_weights(head):
    torch.manual_seed(0)
    fc = head(num_classes=100, in_channels=512).fc
    assert fc.weight.std().item() == pytest.approx(0.01, rel=0.015)
    assert fc.weight.mean().abs() < 4 * 0.01 / math.sqrt(fc.weight.numel())
    assert fc.bias.abs().sum() == 0


@pytest.mark.parametrize("head", HEADS)
def test_logits(head):
    layer = head(num_classes=7, in_channels=3)
    torch.nn.init.normal_(layer.fc.bias)
    pooled = torch.rand(4, 3)
    torch.testing.assert_close(layer(pooled), pooled @ layer.fc.weight.T + layer.fc.bias)
    assert layer.num_classes == 7


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("head", HEADS)
def test_loss_of_plain_labels(head, share):
    layer = head(num_classes=6, in_channels=3, label_smoothing=share)
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.tensor([0, 5, 2, 2, 1])
    expected = naive(logits.double(), smoothed(labels, 6, share))
    assert layer.loss(logits, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("head", HEADS)
def test_loss_of_mixed_labels(head, share):
    layer = head(num_classes=6, in_channels=3, label_smoothing=share)
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.tensor([[0, 5], [2, 2], [1, 0], [4, 3]])
    own = torch.tensor([[0.9], [0.4], [0.0], [1.0]])
    weights = torch.cat([own, 1 - own], 1)
    expected = naive(logits.double(), smoothed(labels, 6, share, weights))
    assert layer.loss(logits, MixTarget(labels, weights)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_logits_are_summed_in_float32(head):
    """In bfloat16 itself the loss of a sure and right prediction would be off by per cents."""
    layer = head(num_classes=6, in_channels=3)
    logits = torch.randn(64, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.arange(64) % 6
    expected = naive(logits.double(), smoothed(labels, 6, 0.0))
    target = MixTarget(labels[:, None], torch.ones(64, 1))
    for loss in (layer.loss(logits, labels), layer.loss(logits, target)):
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize("head", HEADS)
def test_label_smoothing_out_of_range(head, share):
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\)"):
        head(num_classes=6, in_channels=3, label_smoothing=share)
