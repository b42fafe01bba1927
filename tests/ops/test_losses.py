"""Cross entropy on sparse soft labels against torch's and timm's on dense ones; what all losses refuse."""

import pytest
import timm.loss
import torch
from torch import Tensor
from torch.nn import functional as F

from openmix import MixTarget, decoupled_cross_entropy, mix_binary_cross_entropy, mix_cross_entropy

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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_hard_pair_of_cross_entropies(smoothing):
    """lam * CE(y_a) + (1 - lam) * CE(y_b) with class indices, each image with its own lam."""
    logits, target = make(2)
    own, partner = (
        F.cross_entropy(logits, target.labels[:, k], reduction="none", label_smoothing=smoothing) for k in (0, 1)
    )
    lam = target.weights[:, 0]
    loss = mix_cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(loss, lam * own + (1 - lam) * partner)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_equals_timms_soft_cross_entropy(k):
    logits, target = make(k)
    wanted = timm.loss.SoftTargetCrossEntropy()(logits, dense(target))
    torch.testing.assert_close(mix_cross_entropy(logits, target), wanted)


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


ALL = [mix_cross_entropy, mix_binary_cross_entropy, decoupled_cross_entropy]


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("reduction", ["avg", "", None])
def test_unknown_reduction_is_named(reduction, loss):
    logits, target = make(2)
    with pytest.raises(ValueError, match="reduction"):
        loss(logits, target, reduction=reduction)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("smoothing", [-0.1, 1.5])
def test_wrong_smoothing_is_named(smoothing, loss):
    logits, target = make(2)
    with pytest.raises(ValueError, match="label_smoothing"):
        loss(logits, target, label_smoothing=smoothing)


WRONG = [
    ((9, 2), (9, 2), torch.int32, r"labels must be int64 \(B, K\) with B = 9, .*, got torch.int32 of shape \(9, 2\)"),
    ((9,), (9,), torch.int64, r"labels must be int64 \(B, K\)"),
    ((8, 2), (8, 2), torch.int64, r"labels must be int64 \(B, K\) with B = 9"),
    ((9, 2), (9, 3), torch.int64, r"weights must have one value for each of labels, got shape \(9, 3\)"),
    ((9, 2), (9,), torch.int64, "weights must have one value for each of labels"),
]


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize(("labels", "weights", "dtype", "message"), WRONG)
def test_what_does_not_fit_is_named(labels, weights, dtype, message, loss):
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(9, CLASSES), MixTarget(torch.zeros(labels, dtype=dtype), torch.ones(weights)))


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("label", [-1, -100, CLASSES])
def test_a_label_that_is_no_class_is_named(label, loss):
    logits, target = make(2)
    target.labels[3, 1] = label
    with pytest.raises(ValueError, match=r"labels must be in \[0, 7\), the number of classes, got"):
        loss(logits, target)


@pytest.mark.parametrize("loss", ALL)
def test_logits_of_another_shape_are_named(loss):
    with pytest.raises(ValueError, match=r"logits must be \(B, C\), got shape \(9, 7, 1\)"):
        loss(torch.zeros(9, 7, 1), make(2)[1])


@pytest.mark.parametrize("loss", ALL)
def test_gradients_of_logits_and_weights(loss):
    """Weights that are learned have gradients too."""
    logits, target = make(3, batch=4)
    weights = 0.9 * target.weights.double()  # no sum lies on the kink at 1
    inputs = (logits.double().requires_grad_(), weights.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: loss(x, MixTarget(target.labels, w), 0.1), inputs)


def test_a_masked_class_may_be_a_label_of_no_weight():
    logits = torch.tensor([[0.3, 1.2, 0.1, float("-inf")]], requires_grad=True)
    target = MixTarget(torch.tensor([[1, 3]]), torch.tensor([[1.0, 0.0]]))
    loss = mix_cross_entropy(logits, target)
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([1])))
    loss.backward()
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize(
    "target", [torch.tensor([0, 1]), torch.rand(2, 4), (torch.zeros(2, 1).long(), torch.ones(2, 1))]
)
def test_another_target_than_a_mix_target_is_named(target):
    with pytest.raises(ValueError, match="target must be a MixTarget"):
        mix_cross_entropy(torch.zeros(2, 4), target)


@pytest.mark.parametrize("label", [-1, 3])
def test_dense_labels_out_of_range_are_named(label):
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\)"):
        MixTarget(torch.tensor([[0, label]]), torch.ones(1, 2)).soft(3)
