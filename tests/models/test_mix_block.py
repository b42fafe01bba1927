"""The mix block against loops over places, written from the papers; what it does to lambda, and what it refuses."""

import math

import pytest
import torch
from torch import nn

from openmix.models import PixelMixBlock
from openmix.ops.learned_masks import rescale_lam

SAMIX = {"lam_concat": False, "lam_mul": True, "lam_mul_k": 0.25, "qk_concat": True, "value_layers": 2}
PLAIN = {"lam_concat": False}


def made(seed: int = 0, **options) -> PixelMixBlock:
    torch.manual_seed(seed)
    block = PixelMixBlock(6, **options)
    for p in block.parameters():  # as they begin, masks are all but 1/2
        nn.init.normal_(p)
    return block.double()


def example(n: int = 3, h: int = 2, w: int = 3):
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(n, 6, h, w, generator=generator, dtype=torch.float64)
    sources = torch.stack([torch.arange(n), torch.tensor([1, 2, 0])], dim=1)
    return features, sources


def convolved(conv: nn.Conv2d, vector: torch.Tensor) -> torch.Tensor:
    result = conv.weight[:, :, 0, 0] @ vector
    return result if conv.bias is None else result + conv.bias


def naive(block: PixelMixBlock, features, sources, lam: float, k: float | None) -> torch.Tensor:
    """The partner's logits (B, h, w), place by place."""
    n, _, h, w = features.shape
    places = [(i, j) for i in range(h) for j in range(w)]
    scaled = lam if k is None else float(rescale_lam(torch.tensor(lam, dtype=torch.float64), k))
    result = torch.zeros(n, h, w, dtype=torch.float64)

    def told(b: int, place, own: bool) -> torch.Tensor:
        z = features[b, :, place[0], place[1]]
        if block.lam_concat:
            return torch.cat([z, torch.tensor([lam if own else 1 - lam], dtype=torch.float64)])
        return z * (1 + (scaled if own else 1 - scaled)) if block.lam_mul else z

    def value_of(z: torch.Tensor) -> torch.Tensor:
        if isinstance(block.value, nn.Conv2d):
            return convolved(block.value, z)
        net = block.value
        factor = 1.0
        if block.lam_mul and not block.lam_before_norm:  # the norm sees z alone, lambda' scales what it makes of it
            factor = 1 + (1 - scaled)
            z = z / factor
        y = (convolved(net.first, z) - net.norm.running_mean) / torch.sqrt(net.norm.running_var + net.norm.eps)
        y = factor * (y * net.norm.weight + net.norm.bias)
        return convolved(net.last, torch.where(y > 0, y, y.exp() - 1))

    for b in range(n):
        partner = int(sources[b, 1])
        for place in places:
            scores, values = [], []
            for other in places:
                mine, theirs = told(b, place, True), told(partner, other, False)
                if block.qk_concat:
                    mine = torch.cat([told(b, place, True), told(partner, place, False)])
                    theirs = torch.cat([told(b, other, True), told(partner, other, False)])
                query = convolved(block.query, mine)
                key = convolved(block.key if block.key is not None else block.query, theirs)
                scores.append((query @ key) / math.sqrt(len(query)))
                values.append(value_of(told(partner, other, False)))
            weights = torch.stack(scores).softmax(0)
            result[b, place[0], place[1]] = (weights * torch.cat(values)).sum()
    return result


@pytest.mark.parametrize(
    ("options", "k"),
    [
        ({}, None),
        (PLAIN, None),
        (SAMIX, 0.25),
        ({**SAMIX, "lam_mul_k": -1.0}, None),
        ({**PLAIN, "lam_mul": True}, None),
    ],
    ids=["concat", "plain", "samix", "samix-large", "mul"],
)
@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_against_a_loop(options, k, lam):
    block = made(**options).eval()
    features, sources = example()
    shares = block(features, sources, torch.tensor([[lam, 1 - lam]]), size=(2, 3))
    expected = naive(block, features, sources, lam, k).sigmoid()
    torch.testing.assert_close(shares[:, 1].double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(shares.sum(1), torch.ones(3, 2, 3))


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_masks_are_enlarged_before_the_sigmoid(upsampling):
    block = made(**PLAIN, upsampling=upsampling).eval()
    features, sources = example()
    lam = torch.tensor([[0.4, 0.6]])
    small = block(features, sources, lam, size=(2, 3))[:, 1].double().logit()
    large = block(features, sources, lam, size=(8, 12))[:, 1].double().logit()
    for row in range(8):
        for column in range(12):
            if upsampling == "nearest":
                expected = small[:, row // 4, column // 4]
            else:
                y, x = ((v + 0.5) / 4 - 0.5 for v in (row, column))
                y, x = min(max(y, 0), 1), min(max(x, 0), 2)
                i, j = min(int(y), 0), min(int(x), 1)
                rows = small[:, i] * (1 - (y - i)) + small[:, i + 1] * (y - i)
                expected = rows[:, j] * (1 - (x - j)) + rows[:, j + 1] * (x - j)
            torch.testing.assert_close(large[:, row, column], expected, rtol=1e-4, atol=1e-4)


def test_it_begins_near_one_half_and_without_biases():
    block = PixelMixBlock(64, **SAMIX)
    shares = block(
        torch.randn(4, 64, 4, 4), torch.tensor([[0, 1], [1, 2], [2, 3], [3, 0]]), torch.tensor([[0.2, 0.8]]), (8, 8)
    )
    assert (shares - 0.5).abs().max() < 0.1
    weights = torch.cat([m.weight.flatten() for m in block.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.01, rel=0.05)
    assert block.query.bias is not None
    assert block.query.bias.abs().max() == 0


def test_lambda_reaches_the_mask_only_where_it_is_told():
    features, sources = example()
    for options, tells in (({}, True), (SAMIX, True), (PLAIN, False)):
        block = made(**options).eval()
        one, other = (block(features, sources, torch.tensor([[v, 1 - v]]), (2, 3)) for v in (0.2, 0.8))
        assert torch.equal(one, other) != tells


def test_the_norm_cancels_what_is_scaled_before_it():
    """As in the authors' SAMix: lambda scales the whole batch alike, and BatchNorm in training undoes just that."""
    features, sources = example(n=3, h=4, w=4)
    for before in (True, False):
        block = made(**SAMIX, lam_before_norm=before).train()
        for conv in (block.query, block.key):
            nn.init.zeros_(conv.weight)  # what is left is the values' mean
        masks = [block(features, sources, torch.tensor([[v, 1 - v]]), (4, 4)) for v in (0.1, 0.9)]
        assert torch.allclose(*masks, atol=1e-4) == before


def test_the_norm_sees_the_partners_features_once():
    """Its running statistics are of what it normalises, and of nothing else."""
    features, sources = example(n=3, h=4, w=4)
    block, lam = made(**SAMIX).train(), torch.tensor([[0.2, 0.8]])
    block(features, sources, lam, (4, 4))
    assert int(block.value.norm.num_batches_tracked) == 1
    seen = block.value.first(features[sources[:, 1]])
    torch.testing.assert_close(block.value.norm.running_mean, 0.1 * seen.mean((0, 2, 3)))
    torch.testing.assert_close(block.value.norm.running_var, 0.9 + 0.1 * seen.var((0, 2, 3)))


def test_every_parameter_gets_a_gradient_and_half_precision_works():
    for options in ({}, PLAIN, SAMIX):
        block = PixelMixBlock(6, **options)
        features, sources = example()
        with torch.autocast("cpu", torch.bfloat16):
            shares = block(features.float(), sources, torch.tensor([[0.3, 0.7]]), (4, 6))
        assert shares.dtype == torch.float32
        (shares * torch.rand_like(shares)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam_mul": True}, "lam_concat excludes"),
        ({"qk_concat": True}, "lam_concat excludes"),
        ({"value_layers": 2}, "lam_concat takes value_layers=1"),
        ({"lam_concat": False, "value_layers": 3}, "value_layers must be 1 or 2"),
        ({"value_dropout": 0.1}, "2 with value_dropout"),
        ({"lam_mul_k": 0.25}, "lam_mul_k goes with lam_mul"),
        ({"lam_concat": False, "lam_mul": True, "lam_before_norm": True}, "lam_before_norm goes with"),
        ({"lam_concat": False, "value_layers": 2, "lam_before_norm": True}, "lam_before_norm goes with"),
        ({"upsampling": "bicubic"}, "'nearest', 'bilinear'"),
        ({"reduction": 0}, "reduction must be an integer of at least 1"),
        ({"lam_concat": 1}, "lam_concat must be True or False"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        PixelMixBlock(8, **options)


def test_wrong_tensors():
    block = PixelMixBlock(6)
    features, sources = torch.zeros(3, 6, 2, 2), torch.tensor([[0, 1], [1, 2], [2, 0]])
    lam = torch.tensor([[0.5, 0.5]])
    for wrong, message in (
        ((features[0], sources, lam), r"features must be \(B, C, h, w\)"),
        ((features, sources[:2], lam), r"sources must be int64 \(3, K\)"),
        ((features, sources.int(), lam), r"sources must be int64"),
        ((features, sources, lam[0]), r"lam must be \(1, 2\) or \(3, 2\)"),
        (
            (features, torch.zeros(3, 3, dtype=torch.int64), torch.ones(1, 3) / 3),
            "PixelMixBlock mixes 2 images, got 3; AdaptiveMask",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            block(*wrong, size=(4, 4))
