"""Binary cross entropy on mixed labels, and its two-hot labels, against loops, torch and timm."""

import math

import pytest
import timm.data.mixup
import timm.loss
import torch
from torch import Tensor
from torch.nn import functional as F

from openmix import MixTarget, mix_binary_cross_entropy, mix_cross_entropy
from openmix.ops.losses import mix_softmax_binary_cross_entropy, two_hot

CLASSES = 7


def make(k: int, batch: int = 9) -> tuple[Tensor, MixTarget]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(batch, CLASSES, generator=generator)
    labels = torch.randint(CLASSES, (batch, k), generator=generator)
    labels[0] = labels[0, 0]  # all sources of one class
    weights = torch.rand(batch, k, generator=generator) + 0.01
    return logits, MixTarget(labels, weights / weights.sum(1, keepdim=True))


def dense(target: MixTarget) -> Tensor:
    return (F.one_hot(target.labels, CLASSES) * target.weights[:, :, None]).sum(1)


def naive_binary(logits: Tensor, soft: Tensor, smoothing: float) -> Tensor:
    """Each class's binary cross entropy, (B, C), from the definition and in float64."""
    losses = torch.zeros_like(logits, dtype=torch.float64)
    for b, row in enumerate(logits.double().tolist()):
        for c, logit in enumerate(row):
            t = (1 - smoothing) * min(float(soft[b, c]), 1.0) + smoothing / len(row)
            p = 1 / (1 + math.exp(-logit))
            losses[b, c] = -t * math.log(p) - (1 - t) * math.log(1 - p)
    return losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_binary_against_a_loop(k, smoothing):
    logits, target = make(k)
    wanted = naive_binary(logits, dense(target), smoothing).float()
    for class_reduction, per_image in [("mean", wanted.mean(1)), ("sum", wanted.sum(1))]:
        for reduction, expected in [("none", per_image), ("mean", per_image.mean()), ("sum", per_image.sum())]:
            loss = mix_binary_cross_entropy(logits, target, smoothing, reduction, class_reduction)
            torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_binary_equals_torchs(k):
    logits, target = make(k)
    wanted = F.binary_cross_entropy_with_logits(logits, dense(target).clamp(max=1))
    torch.testing.assert_close(mix_binary_cross_entropy(logits, target), wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("ours", "sum_classes"), [("mean", False), ("sum", True)])
def test_binary_equals_timms(ours, sum_classes, smoothing):
    """On plain labels timm's loss smooths; on mixed ones its Mixup does, before the loss."""
    logits, target = make(1)
    theirs = timm.loss.BinaryCrossEntropy(smoothing=smoothing, sum_classes=sum_classes)
    wanted = theirs(logits, target.labels[:, 0])
    torch.testing.assert_close(mix_binary_cross_entropy(logits, target, smoothing, class_reduction=ours), wanted)

    labels, lam = target.labels[:, 0], 0.3
    soft = timm.data.mixup.mixup_target(labels, CLASSES, lam=lam, smoothing=smoothing)
    pair = MixTarget(torch.stack([labels, labels.flip(0)], 1), torch.tensor([[lam, 1 - lam]]).repeat(9, 1))
    loss = mix_binary_cross_entropy(logits, pair, smoothing, class_reduction=ours)
    torch.testing.assert_close(loss, theirs(logits, soft))


def test_equal_labels_add_up_to_1_at_most():
    logits, _ = make(1)
    labels = (torch.arange(9) % CLASSES)[:, None].repeat(1, 2)
    one_hot = F.one_hot(labels[:, 0], CLASSES).float()
    for weights, share in [([0.3, 0.4], 0.7), ([0.3, 0.7], 1.0), ([0.8, 0.9], 1.0), ([1.0, 1.0], 1.0)]:
        loss = mix_binary_cross_entropy(logits, MixTarget(labels, torch.tensor([weights]).repeat(9, 1)))
        torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, share * one_hot))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_binary_of_half_logits_is_summed_in_float32(dtype):
    logits, target = make(2)
    loss = mix_binary_cross_entropy(logits.to(dtype), target, 0.1)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, mix_binary_cross_entropy(logits.to(dtype).float(), target, 0.1))


def test_binary_of_large_logits_stays_finite():
    logits, target = make(2)
    huge = (logits * 1e4).requires_grad_()
    loss = mix_binary_cross_entropy(huge, target)
    loss.backward()
    assert bool(loss.isfinite()) and huge.grad is not None and bool(huge.grad.isfinite().all())


def test_unknown_class_reduction_is_named():
    with pytest.raises(ValueError, match="class_reduction must be one of 'mean', 'sum', got 'none'"):
        mix_binary_cross_entropy(*make(2), class_reduction="none")  # pyright: ignore[reportArgumentType]


def share_to_target(share: float, mode: str, threshold: float, exponent: float) -> float:
    """OpenMixup's rule, in Python's floats, with base exponent ** 2 for 'exp'."""
    if share == 0:
        return 0.0
    if share >= threshold or mode == "one":
        return 1.0
    if mode == "pow":
        return threshold**-exponent * share**exponent
    if exponent == 1:
        return share / threshold
    return (exponent ** (2 * share) - 1) / (exponent ** (2 * threshold) - 1)


@pytest.mark.parametrize("scale", [1.0, 0.8])
@pytest.mark.parametrize(
    ("mode", "threshold", "exponent"),
    [
        ("one", 1.0, 1.0),
        ("pow", 1.0, 1.0),
        ("pow", 0.5, 1.0),
        ("pow", 0.8, 0.5),
        ("pow", 0.6, 2.0),
        ("pow", 1.0, 0.0),
        ("exp", 1.0, 2.0),
        ("exp", 0.7, 0.25),
        ("exp", 0.5, 1.0),
    ],
)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_two_hot_against_a_loop(k, mode, threshold, exponent, scale):
    logits, target = make(k, batch=30)
    target.weights[1:5, 0], target.weights[1:5, 1:] = 1.0, 0.0  # unmixed
    shares = dense(target)
    wanted = torch.tensor([[scale * share_to_target(s, mode, threshold, exponent) for s in r] for r in shares.tolist()])
    hot = two_hot(target, mode, threshold, exponent, scale)
    assert hot.weights.shape == target.weights.shape and float(hot.weights.max()) <= 1
    torch.testing.assert_close(dense(hot), wanted, atol=1e-6, rtol=1e-5)
    loss = mix_binary_cross_entropy(logits, hot, class_reduction="sum", reduction="none")
    torch.testing.assert_close(loss, naive_binary(logits, wanted, 0.0).sum(1).float())


def test_two_hot_of_the_default_power_is_the_share():
    _, target = make(2)
    torch.testing.assert_close(dense(two_hot(target, "pow")), dense(target))


def test_an_unmixed_image_has_one_label():
    """Its partner is a placeholder of weight 0, under every mode."""
    target = MixTarget(torch.tensor([[2, 4]]), torch.tensor([[1.0, 0.0]]))
    for mode, exponent in [("one", 1.0), ("pow", 0.0), ("pow", 2.0), ("exp", 2.0)]:
        assert two_hot(target, mode, exponent=exponent).weights.tolist() == [[1.0, 0.0]]  # type: ignore[arg-type]


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_two_hot_has_finite_gradients_at_weight_0(exponent):
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]], requires_grad=True)
    two_hot(MixTarget(torch.tensor([[0, 1], [2, 3]]), weights), "pow", 1.0, exponent).weights.sum().backward()
    assert weights.grad is not None and weights.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "none"}, "mode must be one of 'one', 'pow', 'exp', got 'none'"),
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\]"),
        ({"threshold": 1.5}, r"threshold must be in \(0, 1\]"),
        ({"exponent": -1.0}, "exponent must be a number of at least 0"),
        ({"mode": "exp", "exponent": 0.0}, "exponent must be .* above 0 in mode 'exp'"),
        ({"exponent": math.nan}, "exponent"),
        ({"scale": 0.0}, r"scale must be in \(0, 1\]"),
        ({"scale": 1.1}, r"scale must be in \(0, 1\]"),
    ],
)
def test_wrong_two_hot_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        two_hot(make(2)[1], **arguments)


def test_binary_and_two_hot_compile_whole():
    def loss(logits: Tensor, target: MixTarget) -> Tensor:
        return mix_binary_cross_entropy(logits, two_hot(target, "exp", 0.5, 2.0, 0.9), 0.1)

    logits, target = make(3)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, target), loss(logits, target))


class TestOnSoftmax:
    """Puzzle Mix's: torch's BCELoss on probabilities, in double precision; its gradient for p < 1e-12 is cut off."""

    def naive(self, logits, target):
        soft, p = target.soft(logits.shape[1]).double().clamp(max=1), logits.double().softmax(1)
        loss = -(soft * p.log() + (1 - soft) * (1 - p).log()).mean()
        torch.testing.assert_close(loss, F.binary_cross_entropy(p, soft))
        return loss

    @pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
    def test_equals_torchs_on_probabilities(self, scale):
        generator = torch.Generator().manual_seed(0)
        logits = scale * torch.randn(7, 12, generator=generator)
        labels = torch.randint(12, (7, 3), generator=generator)
        target = MixTarget(labels, torch.rand(7, 3, generator=generator).softmax(1))
        ours = logits.clone().requires_grad_()
        theirs = logits.clone().requires_grad_()
        found, wanted = mix_softmax_binary_cross_entropy(ours, target), self.naive(theirs, target)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-7)
        (mine,) = torch.autograd.grad(found, ours)
        (other,) = torch.autograd.grad(wanted, theirs)
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-7)

    def test_certain_predictions_have_finite_gradients(self):
        logits = torch.tensor([[200.0, 0.0, -200.0], [-200.0, 200.0, 0.0]], requires_grad=True)
        target = MixTarget(torch.tensor([[0], [0]]), torch.ones(2, 1))
        loss = mix_softmax_binary_cross_entropy(logits, target)
        loss.backward()
        assert bool(loss.isfinite()) and bool(logits.grad.isfinite().all())
        assert float(loss.detach()) > 10

    def test_its_gradient_is_a_hundredth_of_cross_entropys_in_the_beginning(self):
        """98.9 times, by the reference, for 100 classes and predictions that know nothing."""
        target = MixTarget(torch.tensor([[3]]), torch.ones(1, 1))
        norms = []
        for loss in (mix_cross_entropy, mix_softmax_binary_cross_entropy):
            logits = torch.zeros(1, 100, requires_grad=True)
            loss(logits, target).backward()
            norms.append(float(logits.grad.norm()))
        assert norms[0] / norms[1] == pytest.approx(98.9, abs=0.2)
