"""Heads: their start, their logits, their losses."""

import math

import pytest
import torch

from openmix.models import ClsHead, ClsMixupHead, DecoupledCrossEntropy, MixBinaryCrossEntropy, MixCrossEntropy
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


LOSSES = [MixCrossEntropy(0.1), MixBinaryCrossEntropy(), MixBinaryCrossEntropy(two_hot="one"), DecoupledCrossEntropy()]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("head", HEADS)
def test_a_given_loss_is_the_loss_of_plain_labels_and_of_mixed_ones(head, loss):
    layer = head(num_classes=6, in_channels=3, loss=loss)
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)) * 3
    mixed = MixTarget(torch.tensor([[0, 5], [2, 2], [1, 0], [4, 3]]), torch.tensor([[0.7, 0.3]]).repeat(4, 1))
    assert torch.equal(layer.loss(logits, mixed), loss(logits, mixed))
    labels = torch.tensor([0, 5, 2, 2])
    unmixed = MixTarget(torch.stack([labels, labels.flip(0)], 1), torch.tensor([[1.0, 0.0]]).repeat(4, 1))
    torch.testing.assert_close(layer.loss(logits, labels), loss(logits, unmixed))


@pytest.mark.parametrize("head", HEADS)
def test_the_default_loss_is_cross_entropy_with_the_heads_smoothing(head):
    for share in (0.0, 0.1):
        criterion = head(num_classes=6, in_channels=3, label_smoothing=share).criterion
        assert isinstance(criterion, MixCrossEntropy) and criterion.label_smoothing == share


@pytest.mark.parametrize("head", HEADS)
def test_a_loss_adds_nothing_to_a_checkpoint(head):
    plain, given = head(6, 3), head(6, 3, loss=DecoupledCrossEntropy())
    assert list(given.state_dict()) == list(plain.state_dict()) == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("head", HEADS)
def test_smoothing_and_loss_at_once_are_named(head):
    with pytest.raises(ValueError, match="label_smoothing and loss are both given"):
        head(6, 3, label_smoothing=0.1, loss=MixCrossEntropy())


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_batch_of_one_or_two(loss, size):
    """OpenMixup's head takes two images for the two outputs of a transformer."""
    layer = ClsMixupHead(6, 3, loss=loss)
    target = MixTarget(torch.tensor([[0, 5]]).repeat(size, 1), torch.tensor([[0.7, 0.3]]).repeat(size, 1))
    value = layer.loss(layer(torch.rand(1, 3).repeat(size, 1)), target)
    assert value.shape == () and torch.isfinite(value)


def test_labels_that_are_none_are_named():
    layer = ClsMixupHead(6, 3)
    with pytest.raises(ValueError, match=r"labels must be int64 \(B,\) or a MixTarget, got shape \(4, 6\)"):
        layer.loss(torch.zeros(4, 6), torch.full((4, 6), 1 / 6))
    with pytest.raises(ValueError, match="labels must be int64"):
        layer.loss(torch.zeros(4, 6), torch.zeros(4))
    with pytest.raises(ValueError, match=r"labels must be int64 .* B = 4"):
        layer.loss(torch.zeros(4, 6), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels must be in \[0, 6\), the number of classes, got 1 to 6"):
        layer.loss(torch.zeros(4, 6), torch.tensor([1, 2, 6, 3]))
    with pytest.raises(ValueError, match=r"labels must be in \[0, 6\), the number of classes, got -100 to 3"):
        layer.loss(torch.zeros(4, 6), torch.tensor([1, 2, -100, 3]))  # which torch would leave out


@pytest.mark.parametrize(
    ("init", "std", "has_bias"),
    [
        ("normal", 0.01, False),
        ("he", (2 / 400) ** 0.5, False),
        ("torch", (1 / 3 / 400) ** 0.5, True),  # uniform in +-1/sqrt(in_channels)
        ("torch_no_bias", (1 / 3 / 400) ** 0.5, False),
    ],
)
def test_how_the_classifier_begins(init, std, has_bias):
    torch.manual_seed(0)
    head = ClsHead(500, 400, init=init)
    assert head.fc.weight.std().item() == pytest.approx(std, rel=0.02)
    if init.startswith("torch"):
        assert head.fc.weight.abs().max() <= 400**-0.5
    assert bool(head.fc.bias.any()) == has_bias


def test_an_unknown_beginning():
    with pytest.raises(ValueError, match="init must be one of normal, he, torch, torch_no_bias, got 'xavier'"):
        ClsHead(5, 4, init="xavier")


def test_a_loss_of_ones_own_is_called_for_plain_labels_too():
    class Own(MixCrossEntropy):
        def forward(self, logits, target, reduction="mean"):
            assert isinstance(target, MixTarget)
            return super().forward(logits, target, reduction) * 0 + 123

    labels = torch.tensor([1, 2])
    assert ClsHead(6, 3, loss=Own()).loss(torch.zeros(2, 6), labels) == 123
    seen, head = [], ClsHead(6, 3)
    head.criterion.register_forward_hook(lambda *args: seen.append(1))
    head.loss(torch.zeros(2, 6), labels)
    assert seen == [1]
