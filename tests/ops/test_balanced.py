"""SAMix's eta-balanced loss against a loop over images and classes, written from the formula."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openmix import MixTarget, mix_cross_entropy
from openmix.ops.balanced import balanced_mix_cross_entropy

CLASSES = 7


def make(k: int = 2, batch: int = 10) -> tuple[Tensor, MixTarget]:
    generator = torch.Generator().manual_seed(k)
    logits = 3 * torch.randn(batch, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.stack([torch.randperm(CLASSES, generator=generator)[:k] for _ in range(batch)])
    weights = torch.rand(batch, k, generator=generator, dtype=torch.float64) + 0.01
    weights = weights / weights.sum(1, keepdim=True)
    labels[0] = labels[0, 0]  # all sources of one class
    weights[1] = torch.tensor([1.0] + [0.0] * (k - 1))  # unmixed, beside placeholders
    if k > 2:
        labels[2, 2] = labels[2, 0]  # two of three
        weights[3] = torch.tensor([0.0, 0.25, 0.75] + [0.0] * (k - 3))
    return logits, MixTarget(labels, weights)


def naive_terms(row: list[float], labels: list[int], weights: list[float]) -> tuple[float, float]:
    """One image's local and global term."""
    share: dict[int, float] = {}
    for c, w in zip(labels, weights, strict=True):
        if w > 0:
            share[c] = share.get(c, 0) + w
    among_own = sum(math.exp(row[c]) for c in share)
    among_all = sum(math.exp(z) for z in row)
    local = -sum(w * math.log(math.exp(row[c]) / among_own) for c, w in share.items())
    return local, -sum(w * math.log(math.exp(row[c]) / among_all) for c, w in share.items())


def naive(logits: Tensor, target: MixTarget, eta: float) -> Tensor:
    losses = []
    for row, labels, weights in zip(logits.tolist(), target.labels.tolist(), target.weights.tolist(), strict=True):
        local, overall = naive_terms(row, labels, weights)
        losses.append(local + eta * overall)
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("eta", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_against_a_loop(k, eta):
    logits, target = make(k)
    wanted = naive(logits, target, eta)
    torch.testing.assert_close(balanced_mix_cross_entropy(logits, target, eta, "none"), wanted)
    torch.testing.assert_close(balanced_mix_cross_entropy(logits, target, eta, "sum"), wanted.sum())
    torch.testing.assert_close(balanced_mix_cross_entropy(logits, target, eta), wanted.mean())


def test_the_local_term_of_a_pair_is_a_binary_cross_entropy():
    """Two classes a and b: p_a is the sigmoid of z_a - z_b, and what other classes' logits are does not matter."""
    logits, target = make()
    a, b = logits.gather(1, target.labels).unbind(1)
    wanted = F.binary_cross_entropy_with_logits(a - b, target.weights[:, 0], reduction="none")
    local = balanced_mix_cross_entropy(logits, target, 0.0, reduction="none")
    torch.testing.assert_close(local[2:], wanted[2:])
    others = torch.ones_like(logits).scatter(1, target.labels, 0)
    elsewhere = balanced_mix_cross_entropy(logits + 5 * others, target, 0.0, reduction="none")
    torch.testing.assert_close(elsewhere, local)


def test_an_image_of_one_class_has_the_global_term_alone():
    logits, target = make(3)
    losses = balanced_mix_cross_entropy(logits, target, 0.5, reduction="none")
    soft = 0.5 * mix_cross_entropy(logits, target, reduction="none")
    assert torch.equal(losses[:2], soft[:2]), "equal labels, and placeholders of weight 0"
    assert bool((losses[2:] > soft[2:]).all())


def test_only_the_soft_label_counts():
    logits, (labels, weights) = make()
    split = MixTarget(labels[:, [0, 0, 1]], torch.stack([0.4 * weights[:, 0], 0.6 * weights[:, 0], weights[:, 1]], 1))
    padded = MixTarget((labels[:, [0, 0, 1]] + torch.tensor([1, 0, 0])) % CLASSES, F.pad(weights, (1, 0)))
    wanted = balanced_mix_cross_entropy(logits, MixTarget(labels, weights), 0.5, reduction="none")
    for target in (split, padded):
        torch.testing.assert_close(balanced_mix_cross_entropy(logits, target, 0.5, reduction="none"), wanted)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_gradients(k):
    logits, target = make(k, batch=5)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: balanced_mix_cross_entropy(z, target, 0.5, "none"), (logits,))
    (gradient,) = torch.autograd.grad(balanced_mix_cross_entropy(logits, target, 0.0, "sum"), logits)
    assert bool((gradient[:2] == 0).all()), "an image of one class is not moved by its local term"
    torch.testing.assert_close(gradient.sum(1), torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e4, 1e30, 1e36])
def test_extreme_logits(scale):
    logits, target = make(3)
    logits = (scale * logits).float().requires_grad_()
    loss = balanced_mix_cross_entropy(logits, target, 0.5)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert bool(loss.isfinite()) and bool(gradient.isfinite().all())


def test_masked_classes_may_be_placeholders():
    """Logits of -inf at labels of weight 0, and a row that has no label at all."""
    labels, weights = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    logits = torch.tensor([[1.0, -math.inf, 2.0], [1.0, 0.0, 2.0]], requires_grad=True)
    loss = balanced_mix_cross_entropy(logits, MixTarget(labels, weights), 1.0, reduction="none")
    with torch.autograd.set_detect_anomaly(True):
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(loss, torch.tensor([math.log(1 + math.e), 0.0]))
    assert bool(gradient.isfinite().all()) and gradient[0, 1] == 0 and not gradient[1].any()


def test_half_precision_is_computed_in_float32():
    logits, target = make()
    logits = logits.bfloat16()
    loss = balanced_mix_cross_entropy(logits, target, 0.5)
    torch.testing.assert_close(loss, balanced_mix_cross_entropy(logits.double(), target, 0.5))


def test_it_waits_for_no_device():
    logits = torch.empty(4, CLASSES, device="meta", requires_grad=True)
    target = MixTarget(torch.empty(4, 2, dtype=torch.int64, device="meta"), torch.empty(4, 2, device="meta"))
    loss = balanced_mix_cross_entropy(logits, target, 0.5)
    loss.backward()
    assert loss.device.type == "meta" and loss.shape == ()


@pytest.mark.parametrize("eta", [-0.1, math.inf, math.nan])
def test_eta_out_of_range(eta):
    logits, target = make()
    with pytest.raises(ValueError, match="eta must be"):
        balanced_mix_cross_entropy(logits, target, eta)


def test_bad_tensors():
    logits, target = make()
    with pytest.raises(ValueError, match="reduction"):
        balanced_mix_cross_entropy(logits, target, 0.5, reduction="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels must be in"):
        balanced_mix_cross_entropy(logits[:, :2], target, 0.5)
    with pytest.raises(ValueError, match="MixTarget"):
        balanced_mix_cross_entropy(logits, target.labels, 0.5)  # type: ignore[arg-type]
