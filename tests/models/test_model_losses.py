"""The losses of configs: each is its function with its arguments, alone, compiled and in training."""

import math

import pytest
import torch
from torch import Tensor, nn

from openmix import MixTarget, decoupled_cross_entropy, mix_binary_cross_entropy, mix_cross_entropy
from openmix.models import (
    ClsMixupHead,
    DecoupledCrossEntropy,
    MixBinaryCrossEntropy,
    MixCrossEntropy,
    MixSoftmaxBinaryCrossEntropy,
)
from openmix.ops.losses import mix_softmax_binary_cross_entropy, two_hot

CLASSES = 6


def make(k: int = 2) -> tuple[Tensor, MixTarget]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(8, CLASSES, generator=generator)
    weights = torch.rand(8, k, generator=generator)
    labels = torch.randint(CLASSES, (8, k), generator=generator)
    return logits, MixTarget(labels, weights / weights.sum(1, keepdim=True))


# a loss, and what it computes
CASES = [
    (MixCrossEntropy(), lambda x, t, r: mix_cross_entropy(x, t, reduction=r)),
    (MixCrossEntropy(0.1), lambda x, t, r: mix_cross_entropy(x, t, 0.1, r)),
    (MixBinaryCrossEntropy(), lambda x, t, r: mix_binary_cross_entropy(x, t, reduction=r)),
    (
        MixBinaryCrossEntropy(0.2, class_reduction="sum"),
        lambda x, t, r: mix_binary_cross_entropy(x, t, 0.2, r, "sum"),
    ),
    (
        MixBinaryCrossEntropy(two_hot="pow", threshold=0.6, exponent=0.5, scale=0.9),
        lambda x, t, r: mix_binary_cross_entropy(x, two_hot(t, "pow", 0.6, 0.5, 0.9), reduction=r),
    ),
    (MixSoftmaxBinaryCrossEntropy(), lambda x, t, r: mix_softmax_binary_cross_entropy(x, t, r)),
    (DecoupledCrossEntropy(), lambda x, t, r: decoupled_cross_entropy(x, t, reduction=r)),
    (
        DecoupledCrossEntropy(eta=0.3, threshold=0.7, exponent=2.0, mode="less", label_smoothing=0.1),
        lambda x, t, r: decoupled_cross_entropy(x, t, 0.3, 0.7, 2.0, "less", 0.1, r),
    ),
]
IDS = [type(loss).__name__ for loss, _ in CASES]


@pytest.mark.parametrize(("loss", "function"), CASES, ids=IDS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_it_is_its_function(k, loss, function):
    logits, target = make(k)
    assert torch.equal(loss(logits, target), function(logits, target, "mean"))
    for reduction in ("mean", "sum", "none"):
        assert torch.equal(loss(logits, target, reduction=reduction), function(logits, target, reduction))


@pytest.mark.parametrize("loss", [loss for loss, _ in CASES], ids=IDS)
def test_it_compiles_whole(loss):
    logits, target = make(3)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, target), loss(logits, target))


@pytest.mark.parametrize("loss", [loss for loss, _ in CASES], ids=IDS)
def test_a_head_with_it_compiles_whole(loss):
    torch.compiler.reset()  # what other losses compiled counts as recompilation of the same head
    head = ClsMixupHead(CLASSES, 3, loss=loss)

    def step(pooled: Tensor, target: Tensor | MixTarget) -> Tensor:
        return head.loss(head(pooled), target)

    pooled, (_, target) = torch.rand(8, 3), make()
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    for labels in (target, target.labels[:, 0]):
        torch.testing.assert_close(compiled(pooled, labels), step(pooled, labels))


@pytest.mark.parametrize("loss", [loss for loss, _ in CASES], ids=IDS)
def test_it_asks_for_no_number(loss):
    """The meta device has none: a step that reads a value on the device would fail here."""
    logits, target = (make()[0].to("meta").requires_grad_(), MixTarget(*(t.to("meta") for t in make()[1])))
    value = loss(logits, target)
    value.backward()
    assert value.shape == () and logits.grad is not None
    head = ClsMixupHead(CLASSES, 3, loss=loss).to("meta")
    assert head.loss(logits, target.labels[:, 0]).shape == ()


@pytest.mark.parametrize("loss", [loss for loss, _ in CASES], ids=IDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_logits_and_autocast_are_computed_in_float32(dtype, loss):
    logits, target = make()
    half = logits.to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(half, target)
    assert torch.equal(value, loss(half.float(), target)) and value.dtype == torch.float32
    value.backward()
    assert half.grad is not None and half.grad.dtype == dtype and bool(half.grad.isfinite().all())


@pytest.mark.parametrize("loss", [loss for loss, _ in CASES], ids=IDS)
def test_a_network_learns_by_it(loss):
    """Descent on unmixed labels of linearly separable points ends with all of them right."""
    torch.manual_seed(0)
    labels = torch.arange(24) % CLASSES
    points = 3 * nn.functional.one_hot(labels, CLASSES).float() + 0.3 * torch.randn(24, CLASSES)
    head = ClsMixupHead(CLASSES, CLASSES, loss=loss)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        head.loss(head(points), labels).backward()
        optimizer.step()
    assert torch.equal(head(points).argmax(1), labels)


WRONG = [
    (MixCrossEntropy, {"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\)"),
    (MixBinaryCrossEntropy, {"label_smoothing": math.nan}, r"label_smoothing must be in \[0, 1\)"),
    (MixBinaryCrossEntropy, {"class_reduction": "none"}, "class_reduction must be one of"),
    (MixBinaryCrossEntropy, {"two_hot": "none"}, "mode must be one of 'one', 'pow', 'exp'"),
    (MixBinaryCrossEntropy, {"two_hot": "pow", "threshold": 0.0}, "threshold must be in"),
    (MixBinaryCrossEntropy, {"two_hot": "exp", "exponent": 0.0}, "exponent must be"),
    (MixBinaryCrossEntropy, {"two_hot": "one", "scale": 2.0}, "scale must be in"),
    (MixBinaryCrossEntropy, {"threshold": 0.5}, "threshold, exponent and scale go with two_hot"),
    (MixBinaryCrossEntropy, {"exponent": 0.5}, "go with two_hot"),
    (MixBinaryCrossEntropy, {"scale": 0.5}, "go with two_hot"),
    (DecoupledCrossEntropy, {"eta": -1.0}, "eta must be"),
    (DecoupledCrossEntropy, {"threshold": 2.0}, "threshold must be in"),
    (DecoupledCrossEntropy, {"mode": "some"}, "mode must be one of 'both', 'less', 'more'"),
    (DecoupledCrossEntropy, {"label_smoothing": -0.1}, "label_smoothing must be in"),
]


@pytest.mark.parametrize(("cls", "arguments", "message"), WRONG)
def test_wrong_arguments_are_found_when_it_is_made(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)
