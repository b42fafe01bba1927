"""DecoupleMix's loss against a loop over images and classes, written from the formula."""

import math

import pytest
import torch
from torch import Tensor

from openmix import MixTarget, decoupled_cross_entropy, mix_cross_entropy

CLASSES = 7
SETTINGS = [(1.0, 1.0, "both"), (1.0, 0.5, "both"), (0.6, 2.0, "both"), (1.0, 0.0, "both"), (0.8, 1.0, "less")]
SETTINGS += [(1.0, 1.0, "less"), (1.0, 0.5, "more"), (0.5, 0.0, "more")]


def make(k: int = 2, batch: int = 12) -> tuple[Tensor, MixTarget]:
    generator = torch.Generator().manual_seed(k)
    logits = 3 * torch.randn(batch, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.stack([torch.randperm(CLASSES, generator=generator)[:k] for _ in range(batch)])
    weights = torch.rand(batch, k, generator=generator, dtype=torch.float64) + 0.01
    weights = weights / weights.sum(1, keepdim=True)
    labels[0] = labels[0, 0]  # all sources of one class
    weights[1] = torch.tensor([1.0] + [0.0] * (k - 1))  # unmixed, beside placeholders
    return logits, MixTarget(labels, weights)


def cross_entropy_among(row: list[float], own: int, classes: list[int]) -> float:
    return math.log(sum(math.exp(row[c]) for c in classes)) - row[own]


def naive(row: list[float], share: dict[int, float], eta: float, threshold: float, exponent: float, mode: str) -> float:
    """One image's loss; ``share`` is its share by class."""
    loss = sum(s * cross_entropy_among(row, c, list(range(len(row)))) for c, s in share.items())
    if len(share) < 2:
        return loss
    for own, s in share.items():
        if mode == "both" or (s < 0.5) == (mode == "less"):
            left = [c for c in range(len(row)) if c == own or c not in share]
            loss += eta * min(s / threshold, 1) ** exponent * cross_entropy_among(row, own, left)
    return loss


def naive_losses(logits: Tensor, target: MixTarget, *settings) -> Tensor:
    losses = []
    for row, labels, weights in zip(logits.tolist(), target.labels.tolist(), target.weights.tolist(), strict=True):
        share: dict[int, float] = {}
        for c, w in zip(labels, weights, strict=True):
            if w > 0:
                share[c] = share.get(c, 0) + w
        losses.append(naive(row, share, *settings))
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("eta", [0.1, 1.0])
@pytest.mark.parametrize(("threshold", "exponent", "mode"), SETTINGS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_against_a_loop(k, threshold, exponent, mode, eta):
    logits, target = make(k)
    wanted = naive_losses(logits, target, eta, threshold, exponent, mode)
    for reduction, expected in [("none", wanted), ("mean", wanted.mean()), ("sum", wanted.sum())]:
        loss = decoupled_cross_entropy(logits, target, eta, threshold, exponent, mode, reduction=reduction)
        torch.testing.assert_close(loss, expected)


def test_defaults():
    logits, target = make()
    torch.testing.assert_close(
        decoupled_cross_entropy(logits, target), naive_losses(logits, target, 0.1, 1.0, 1.0, "both").mean()
    )


def test_each_label_has_its_own_eta_in_either_order():
    """The larger class number first or second: OpenMixup's code takes shares in one order and etas in the other."""
    logits = torch.tensor([[2.0, -1.0, 0.5, 0.0]], dtype=torch.float64)
    up = MixTarget(torch.tensor([[0, 3]]), torch.tensor([[0.9, 0.1]]))
    down = MixTarget(torch.tensor([[3, 0]]), torch.tensor([[0.1, 0.9]]))
    row = logits[0].tolist()
    extra = 0.9 * cross_entropy_among(row, 0, [0, 1, 2]) + 0.1 * cross_entropy_among(row, 3, [1, 2, 3])
    swapped = 0.1 * cross_entropy_among(row, 0, [0, 1, 2]) + 0.9 * cross_entropy_among(row, 3, [1, 2, 3])
    assert abs(extra - swapped) > 0.5, "the test could not tell"
    for target in (up, down):
        regularizer = decoupled_cross_entropy(logits, target, eta=1.0) - mix_cross_entropy(logits, target)
        assert regularizer.item() == pytest.approx(extra, rel=1e-6)


def test_every_image_has_its_own_shares():
    """Each image's loss is that of a batch of it alone."""
    logits, target = make(3)
    together = decoupled_cross_entropy(logits, target, reduction="none")
    alone = [
        decoupled_cross_entropy(logits[i : i + 1], MixTarget(*(t[i : i + 1] for t in target)))
        for i in range(len(logits))
    ]
    torch.testing.assert_close(together, torch.stack(alone))
    assert together.unique().numel() == len(together)


def test_an_image_of_one_class_has_soft_cross_entropy_alone():
    logits, target = make()
    losses = decoupled_cross_entropy(logits, target, eta=5.0, reduction="none")
    soft = mix_cross_entropy(logits, target, reduction="none")
    assert torch.equal(losses[:2], soft[:2]), "equal labels, and a placeholder of weight 0"
    assert bool((losses[2:] > soft[2:]).all())


def test_only_the_soft_label_counts():
    """A source split in two, or a further one of weight 0, changes nothing."""
    logits, (labels, weights) = make()
    split = MixTarget(labels[:, [0, 0, 1]], torch.stack([0.4 * weights[:, 0], 0.6 * weights[:, 0], weights[:, 1]], 1))
    padded = MixTarget(labels[:, [0, 1, 1]].roll(1, 1), torch.cat([torch.zeros_like(weights[:, :1]), weights], 1))
    wanted = decoupled_cross_entropy(logits, MixTarget(labels, weights), reduction="none")
    torch.testing.assert_close(decoupled_cross_entropy(logits, split, reduction="none"), wanted)
    torch.testing.assert_close(decoupled_cross_entropy(logits, padded, reduction="none"), wanted)


def test_eta_0_is_soft_cross_entropy_and_smoothing_is_its():
    logits, target = make()
    for smoothing in (0.0, 0.1):
        soft = mix_cross_entropy(logits, target, smoothing)
        assert torch.equal(decoupled_cross_entropy(logits, target, 0.0, label_smoothing=smoothing), soft)
    plain = decoupled_cross_entropy(logits, target, 1.0) - mix_cross_entropy(logits, target)
    smoothed = decoupled_cross_entropy(logits, target, 1.0, label_smoothing=0.1) - soft
    torch.testing.assert_close(plain, smoothed)


@pytest.mark.parametrize(("threshold", "exponent", "mode"), SETTINGS)
def test_gradients(threshold, exponent, mode):
    """Of logits, and of weights, which some methods learn."""
    logits, (labels, weights) = make(3, batch=4)
    inputs = (logits.requires_grad_(), (weights + 0.011).requires_grad_())  # no share lies on a kink

    def loss(x: Tensor, w: Tensor) -> Tensor:
        return decoupled_cross_entropy(x, MixTarget(labels, w), 0.3, threshold, exponent, mode)

    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_gradients_are_finite_where_no_class_is_left(scale):
    """Two classes, both mixed: nothing competes, CE_i is 0; images of one class and large logits beside them."""
    logits = (scale * torch.tensor([[3.0, -2.0], [0.0, 1.0], [-1.0, 1.0]])).requires_grad_()
    labels = torch.tensor([[0, 1], [1, 1], [0, 1]])
    weights = torch.tensor([[0.5, 0.5], [0.3, 0.7], [1.0, 0.0]], requires_grad=True)
    target = MixTarget(labels, weights)
    with torch.autograd.set_detect_anomaly(True):
        loss = decoupled_cross_entropy(logits, target, eta=1.0, exponent=0.5)
        loss.backward()
    torch.testing.assert_close(loss, mix_cross_entropy(logits, target))
    assert logits.grad is not None and weights.grad is not None
    assert bool(logits.grad.isfinite().all()) and bool(weights.grad.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_logits_are_summed_in_float32(dtype):
    logits, (labels, weights) = make()
    half, target = logits.to(dtype), MixTarget(labels, weights.float())
    loss = decoupled_cross_entropy(half, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, decoupled_cross_entropy(half.float(), target))


def test_compiles_whole_and_equals_eager():
    logits, target = make(3)
    compiled = torch.compile(decoupled_cross_entropy, fullgraph=True, backend="eager")
    for mode in ("both", "less", "more"):
        torch.testing.assert_close(
            compiled(logits, target, mode=mode), decoupled_cross_entropy(logits, target, mode=mode)
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eta": -0.1}, "eta must be a number of at least 0, got -0.1"),
        ({"eta": math.nan}, "eta must be"),
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\]"),
        ({"exponent": -1.0}, "exponent must be"),
        ({"mode": "none"}, "mode must be one of 'both', 'less', 'more', got 'none'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        decoupled_cross_entropy(*make(), **arguments)
