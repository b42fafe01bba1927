"""The loss on sparse soft labels against torch's own on dense ones."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openmix import MixTarget, mix_cross_entropy

CLASSES = 7


def make(k: int, batch: int = 9, seed: int = 0) -> tuple[Tensor, MixTarget]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, CLASSES, generator=generator)
    labels = torch.randint(CLASSES, (batch, k), generator=generator)
    labels[0] = labels[0, 0]  # all sources of one class
    weights = torch.rand(batch, k, generator=generator) + 0.01
    return logits, MixTarget(labels, weights / weights.sum(1, keepdim=True))


def dense(target: MixTarget) -> Tensor:
    soft = torch.zeros(len(target.labels), CLASSES)
    for b in range(len(target.labels)):
        for label, weight in zip(target.labels[b].tolist(), target.weights[b].tolist(), strict=True):
            soft[b, label] += weight
    return soft


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_equals_cross_entropy_with_soft_labels(k, smoothing, reduction):
    logits, target = make(k)
    wanted = F.cross_entropy(logits, dense(target), label_smoothing=smoothing, reduction=reduction)
    loss = mix_cross_entropy(logits, target, label_smoothing=smoothing, reduction=reduction)
    assert loss.shape == wanted.shape
    torch.testing.assert_close(loss, wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_gradients_equal_cross_entropy_with_soft_labels(k, smoothing):
    logits, target = make(k)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    mix_cross_entropy(ours, target, label_smoothing=smoothing).backward()
    F.cross_entropy(theirs, dense(target), label_smoothing=smoothing).backward()
    assert ours.grad is not None and theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_one_label_is_plain_cross_entropy():
    logits, target = make(1)
    torch.testing.assert_close(mix_cross_entropy(logits, target), F.cross_entropy(logits, target.labels[:, 0]))


def test_defaults_are_the_mean_without_smoothing():
    logits, target = make(2)
    torch.testing.assert_close(mix_cross_entropy(logits, target), F.cross_entropy(logits, dense(target)))


def test_every_image_has_its_own_weight():
    """Averaging lambda over the batch before weighing is wrong as soon as lambdas and losses differ."""
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    labels, lam = torch.tensor([[0, 1], [0, 1]]), torch.tensor([0.9, 0.2])
    target = MixTarget(labels, torch.stack([lam, 1 - lam], 1))
    own, partner = (F.cross_entropy(logits, labels[:, k], reduction="none") for k in (0, 1))
    by_hand = lam * own + (1 - lam) * partner
    torch.testing.assert_close(mix_cross_entropy(logits, target, reduction="none"), by_hand)
    torch.testing.assert_close(mix_cross_entropy(logits, target), by_hand.mean())
    averaged_first = lam.mean() * own.mean() + (1 - lam.mean()) * partner.mean()
    assert abs(float(averaged_first - by_hand.mean())) > 1
    torch.testing.assert_close(mix_cross_entropy(logits, target, reduction="sum"), by_hand.sum())


def test_two_sources_of_one_class_are_one_label():
    logits, _ = make(1)
    labels = torch.arange(9) % CLASSES
    split = MixTarget(labels[:, None].repeat(1, 3), torch.tensor([[0.5, 0.2, 0.3]]).repeat(9, 1))
    torch.testing.assert_close(mix_cross_entropy(logits, split), F.cross_entropy(logits, labels))


def test_weights_need_not_sum_to_one():
    """SnapMix weighs by semantic shares; the loss is their plain weighted sum."""
    logits, target = make(2)
    doubled = MixTarget(target.labels, 2 * target.weights)
    torch.testing.assert_close(mix_cross_entropy(logits, doubled), 2 * mix_cross_entropy(logits, target))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_half_logits_are_summed_in_float32(dtype, smoothing):
    logits, target = make(2)
    loss = mix_cross_entropy(logits.to(dtype), target, label_smoothing=smoothing)
    assert loss.dtype == torch.float32
    exact = mix_cross_entropy(logits.to(dtype).float(), target, label_smoothing=smoothing)
    assert torch.equal(loss, exact)


def test_gradient_of_half_logits_has_their_type():
    logits, target = make(2)
    half = logits.bfloat16().requires_grad_()
    mix_cross_entropy(half, target).backward()
    full = logits.bfloat16().float().requires_grad_()
    mix_cross_entropy(full, target).backward()
    assert half.grad is not None and full.grad is not None
    assert half.grad.dtype == torch.bfloat16
    assert torch.equal(half.grad, full.grad.bfloat16())


def test_large_logits_stay_finite():
    logits, target = make(2)
    huge = (logits * 1e4).requires_grad_()
    loss = mix_cross_entropy(huge, target, label_smoothing=0.1)
    loss.backward()
    assert bool(loss.isfinite()) and huge.grad is not None and bool(huge.grad.isfinite().all())


def test_compiles_whole_and_equals_eager():
    logits, target = make(2)
    compiled = torch.compile(mix_cross_entropy, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, target, label_smoothing=0.1), mix_cross_entropy(logits, target, 0.1))


@pytest.mark.parametrize("reduction", ["avg", "", None])
def test_unknown_reduction_is_named(reduction):
    logits, target = make(2)
    with pytest.raises(ValueError, match="reduction"):
        mix_cross_entropy(logits, target, reduction=reduction)


@pytest.mark.parametrize("smoothing", [-0.1, 1.5])
def test_wrong_smoothing_is_named(smoothing):
    logits, target = make(2)
    with pytest.raises(ValueError, match="label_smoothing"):
        mix_cross_entropy(logits, target, label_smoothing=smoothing)
