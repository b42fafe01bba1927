"""Manifold mixup as a draw: which layer, share and partners. How a network applies it is seen in tests/tasks."""

import pytest
import torch
from scipy import stats
from torch import nn

import openmix
from openmix.mixers import manifoldmix

STAGES = ("stage1", "stage2", "stage3")
LABELS = torch.tensor([3, 0, 2, 2, 1])


def draws(n: int, **hyper):
    function = openmix.build_mixer("manifoldmix", **hyper).function
    for seed in range(n):
        yield function(LABELS, generator=torch.Generator().manual_seed(seed), stages=STAGES)


def shares(n: int, **hyper) -> list[float]:
    return [mix.plan.lam[0, 0, 0, 0].item() for mix in draws(n, **hyper)]


@pytest.mark.parametrize(
    ("layers", "stages"), [((0, 1, 2), [None, "stage1", "stage2"]), ((1, 3), ["stage1", "stage3"])]
)
def test_every_layer_is_as_likely(layers, stages):
    drawn = [mix.stage for mix in draws(1500, layers=layers)]
    assert set(drawn) == set(stages)
    assert stats.chisquare([drawn.count(stage) for stage in stages]).pvalue > 0.01


def test_the_default_layers_are_the_authors():
    assert {mix.stage for mix in draws(60)} == {None, "stage1", "stage2"}


@pytest.mark.parametrize(("hyper", "alpha"), [({}, 2.0), ({"alpha": 0.3}, 0.3), ({"alpha": 8.0}, 8.0)])
def test_the_share_is_beta(hyper, alpha):
    """Default 2.0, the authors'."""
    assert stats.kstest(shares(800, **hyper), stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_the_share_does_not_depend_on_the_layer():
    by_layer = {stage: [] for stage in (None, "stage1", "stage2")}
    for mix in draws(1200):
        by_layer[mix.stage].append(mix.plan.lam[0, 0, 0, 0].item())
    assert all(stats.kstest(lam, stats.beta(2, 2).cdf).pvalue > 0.01 for lam in by_layer.values())


def test_one_share_and_one_permutation_for_the_batch():
    for mix in draws(20):
        lam = mix.plan.lam
        assert lam.shape == (5, 1, 1, 1) and lam.unique().numel() == 1, "a constant, which fits any feature map"
        assert sorted(mix.plan.partner.tolist()) == list(range(5))
    assert len({tuple(mix.plan.partner.tolist()) for mix in draws(20)}) > 10


def test_the_target_by_hand():
    for mix in draws(10):
        lam, partner = mix.plan.lam.flatten()[0].item(), mix.plan.partner.tolist()
        assert mix.target.labels.tolist() == [[int(LABELS[i]), int(LABELS[partner[i]])] for i in range(5)]
        assert mix.target.weights.tolist() == [pytest.approx([lam, 1 - lam])] * 5
        soft = mix.target.soft(4)
        for i in range(5):
            expected = [0.0] * 4
            expected[LABELS[i]] += lam
            expected[LABELS[partner[i]]] += 1 - lam
            assert soft[i].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (8, 8)])
def test_the_plan_fits_any_feature_map(size):
    x = torch.rand(5, 7, *size)
    for mix in draws(3):
        lam, partner = mix.plan.lam.flatten()[0].item(), mix.plan.partner.tolist()
        by_hand = torch.stack([lam * x[i] + (1 - lam) * x[j] for i, j in enumerate(partner)])
        torch.testing.assert_close(mix.plan.apply(x), by_hand)


def test_the_plan_is_a_function_of_the_generator_and_the_number_of_images():
    """Neither labels nor features can move it: there is nothing else that the method is handed."""
    one, two = (
        manifoldmix(labels, generator=torch.Generator().manual_seed(4), stages=STAGES)
        for labels in (LABELS, LABELS.flip(0) + 1)
    )
    assert one.stage == two.stage
    assert torch.equal(one.plan.lam, two.plan.lam) and torch.equal(one.plan.partner, two.plan.partner)
    longer = manifoldmix(LABELS, generator=torch.Generator().manual_seed(4), stages=(*STAGES, "stage4"))
    assert longer.stage == one.stage and torch.equal(longer.plan.lam, one.plan.lam)


def test_without_a_generator_torchs_own_is_used():
    torch.manual_seed(11)
    one = manifoldmix(LABELS, stages=STAGES)
    torch.manual_seed(11)
    two = manifoldmix(LABELS, stages=STAGES)
    assert one.stage == two.stage and torch.equal(one.plan.partner, two.plan.partner)


def test_a_single_image_is_its_own_partner():
    mix = manifoldmix(LABELS[:1], generator=torch.Generator().manual_seed(0), stages=STAGES)
    assert mix.target.labels.tolist() == [[3, 3]]
    assert mix.target.weights.sum().item() == pytest.approx(1)


def test_half_precision_maps_are_blended_in_float32():
    x = torch.rand(5, 3, 4, 4).bfloat16()
    mix = next(draws(1))
    assert torch.equal(mix.plan.apply(x), mix.plan.apply(x.float()).bfloat16())


@pytest.mark.parametrize("layers", [(4,), (0, 1, 4), (-1,), ()])
def test_layers_that_the_network_lacks(layers):
    with pytest.raises(ValueError, match=r"layers must be numbers from 0 \(input\) to 3"):
        manifoldmix(LABELS, generator=torch.Generator(), stages=STAGES, layers=layers)


@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), float("inf")])
def test_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match="alpha must be a number above 0"):
        manifoldmix(LABELS, generator=torch.Generator(), stages=STAGES, alpha=alpha)


def test_it_is_a_feature_method_without_needs():
    mixer = openmix.ManifoldMix()
    assert (mixer.kind, mixer.needs) == ("feature", ())
    assert repr(mixer) == "ManifoldMix(alpha=2.0, layers=(0, 1, 2))"
    with pytest.raises(TypeError, match="MixUpClassification"):
        mixer(torch.rand(5, 3, 8, 8), LABELS, model=nn.Identity())
