"""Co-Mixup as a mixer: draws, groups, and pixels; its labeling is held to loops in tests/ops/test_comixup_labels.py."""

import inspect

import pytest
import torch
from scipy import stats

import openmix
from openmix.mixers import comixup
from openmix.mixers.comixup import draw_comixup
from openmix.ops.comixup_groups import Partitions


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_saliency(batch: int, height: int, width: int, seed: int = 3) -> torch.Tensor:
    """Spots: what is even all over makes whole images the cheapest."""
    spots = torch.rand(batch, 1, 8, 8, generator=seeded(seed)).pow(8)
    return torch.nn.functional.interpolate(spots, size=(height, width))[:, 0]


def test_defaults_are_the_authors():
    parameters = inspect.signature(comixup).parameters
    usual = {"alpha": 2.0, "beta": 0.32, "gamma": 1.0, "eta": 0.05, "tau": 0.83, "omega": 0.001}
    usual |= {"blocks": 4, "partition": 20, "sweeps": 4}
    assert {name: parameters[name].default for name in usual} == usual
    imagenet = openmix.build_mixer("comixup", preset="imagenet")
    assert imagenet.hyper == {"alpha": 1.0, "partition": 16, "sweeps": 3}
    assert imagenet.guide_pass == "train" and imagenet.needs == ("saliency",)


@pytest.mark.parametrize(("height", "width", "blocks"), [(32, 32, 4), (17, 30, 4), (9, 16, 3), (8, 5, 2), (3, 33, 4)])
def test_every_pixel_is_the_mean_of_the_two_that_its_cell_shows(make_batch, height, width, blocks):
    images, labels = make_batch(7, 2, height, width)
    mixed = comixup(images, labels, saliency=some_saliency(7, height, width), generator=seeded(), blocks=blocks)
    shown, x, out = mixed.plan.shown.tolist(), images.double(), mixed.images
    assert bool((mixed.plan.shown[..., 0] != mixed.plan.shown[..., 1]).any()), "some cell is a blend"
    assert mixed.masks is not None
    for b in range(7):
        weights = [0.0] * mixed.sources.shape[1]
        for i in range(height):
            for j in range(width):
                pair = shown[b][i * blocks // height][j * blocks // width]
                wanted = sum(x[mixed.sources[b, k], :, i, j] for k in pair) / 2
                torch.testing.assert_close(out[b, :, i, j].double(), wanted, rtol=0, atol=1e-7)
                for k in pair:
                    weights[k] += 0.5 / (height * width)
                assert mixed.masks[b, :, i, j].nonzero().flatten().tolist() == sorted(set(pair))
        assert mixed.target.weights[b].tolist() == pytest.approx(weights, abs=1e-6)


@pytest.mark.parametrize(("batch", "partition"), [(7, 3), (6, 3), (10, 20), (5, 2), (41, 20), (1, 20), (2, 20)])
def test_outputs_are_made_of_their_group_alone(make_batch, batch, partition):
    images, labels = make_batch(batch, 1, 16, 16)
    mixed = comixup(
        images, labels, saliency=some_saliency(batch, 16, 16), generator=seeded(), partition=partition, blocks=2
    )
    assert mixed.sources.shape == (batch, max(2, min(partition, batch)))
    for b, (sources, weights) in enumerate(zip(mixed.sources.tolist(), mixed.target.weights.tolist(), strict=True)):
        first = b // partition * partition
        group = range(first, min(first + partition, batch))
        assert sources[0] == b and set(sources) == set(group)
        # in the group's order from itself on; a smaller last group comes round again, without weight
        assert sources[: len(group)] == [*range(b, group.stop), *range(first, b)]
        assert not any(weights[len(group) :])


def test_each_salient_place_is_shown_where_nothing_else_counts():
    """Four images, each salient in a quarter of its own: without diversity every output shows these four quarters."""
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    saliency = torch.zeros(4, 8, 8)
    for k in range(4):
        i, j = divmod(k, 2)
        saliency[k, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = 1 + k
    mixed = comixup(
        images, torch.arange(4), saliency=saliency, generator=seeded(), gamma=0.0, eta=0.0, beta=0.1, blocks=2
    )
    for out in mixed.images:
        assert out[0, ::4, ::4].tolist() == [[0, 1], [2, 3]]
    assert torch.equal(mixed.target.soft(4), torch.full((4, 4), 0.25))


def test_diversity_spreads_the_inputs_over_the_outputs(make_batch):
    """Without it all outputs are the same one, with it they differ, and each input gets about its share."""
    images, labels = make_batch(20, 1, 32, 32)
    saliency = some_saliency(20, 32, 32)
    shown = {}
    for gamma in (0.0, 1.0):
        mixed = comixup(images, labels, saliency=saliency, generator=seeded(), gamma=gamma)
        total = torch.zeros(20).scatter_add_(0, mixed.sources.flatten(), mixed.target.weights.flatten())
        shown[gamma] = total
        outputs = {tuple(row.tolist()) for row in mixed.images.flatten(1)}
        assert len(outputs) > 15 if gamma else len(outputs) == 1
    # beyond tau images elsewhere an input is avoided: no more than that and one output's worth
    assert float(shown[1.0].max()) < 0.83 + 1 and float(shown[0.0].max()) > 2
    assert float(shown[1.0].std()) < 0.2 * float(shown[0.0].std())


def test_scale_and_resolution_of_saliency(make_batch):
    images, labels = make_batch(6, 1, 32, 32)
    saliency = some_saliency(6, 32, 32)
    usual = comixup(images, labels, saliency=saliency, generator=seeded())
    for scale in (2.0**-100, 2.0**100):  # exact in float32
        scaled = comixup(images, labels, saliency=saliency * scale, generator=seeded())
        assert torch.equal(scaled.images, usual.images)
    coarse = comixup(images, labels, saliency=saliency[:, ::4, ::4], generator=seeded())
    assert coarse.images.shape == images.shape
    zero = comixup(images, labels, saliency=torch.zeros(6, 32, 32), generator=seeded())
    assert bool(zero.images.isfinite().all()) and bool((zero.target.weights.sum(1) - 1).abs().max() < 1e-6)


def test_priors_are_dirichlet_and_first_labels_uniform():
    parts, alpha = Partitions(3 * 4000 + 2, 3), 2.0
    prior, first = draw_comixup(parts, 4, alpha, seeded(1))
    torch.testing.assert_close(prior.sum(1), torch.ones(parts.groups), rtol=0, atol=1e-6)
    for k in range(3):
        assert stats.kstest(prior[:-1, k].numpy(), stats.beta(alpha, 2 * alpha).cdf).pvalue > 1e-3
    assert stats.chisquare(torch.bincount(first[:-1].flatten(), minlength=3).numpy()).pvalue > 1e-3
    assert float(prior[-1, 2]) == 0 and int(first[-1].max()) == 1
    # a smaller last group has a prior of as many parts
    lasts = torch.stack([draw_comixup(Partitions(5, 3), 4, alpha, seeded(s))[0][1, 0] for s in range(2000)])
    assert stats.kstest(lasts.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_the_prior_favours_inputs(make_batch):
    """Where saliency says nothing and diversity is off, each group shows the input that its prior favours."""
    images, labels = make_batch(6, 1, 16, 16)
    settings = {"gamma": 0.0, "eta": 5.0, "blocks": 2, "partition": 3}
    mixed = comixup(images, labels, saliency=torch.ones(6, 16, 16), generator=seeded(5), **settings)
    prior, _ = draw_comixup(Partitions(6, 3), 4, 2.0, seeded(5))
    favourite = prior.argmax(1) + torch.tensor([0, 3])
    assert torch.equal(mixed.images, images[favourite.repeat_interleave(3)])


def test_integers_are_refused_whatever_was_drawn(make_batch):
    images, labels = make_batch(1, 1, 16, 16)
    mixed = comixup(images, labels, saliency=some_saliency(1, 16, 16), generator=seeded())
    with pytest.raises(TypeError, match="int64"):
        mixed.apply(torch.zeros(1, 1, 16, 16, dtype=torch.int64))


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"alpha": 0}, "alpha must be a number above 0"),
        ({"beta": -0.1}, "beta must be 0 or more"),
        ({"gamma": float("nan")}, "gamma must be a finite number"),
        ({"eta": -1}, "eta must be 0 or more"),
        ({"tau": "0.8"}, "tau must be a finite number"),
        ({"omega": 1.5}, r"omega must be a number in \[0, 1\]"),
        ({"blocks": 8}, "blocks must be 2 to 4"),
        ({"blocks": 1}, "blocks must be an integer of at least 2"),
        ({"partition": 1}, "partition must be an integer of at least 2"),
        ({"sweeps": 0}, "sweeps must be an integer of at least 1"),
        ({"thres": 0.8}, "it is tau here"),
    ],
)
def test_wrong_settings_are_named(hyper, message):
    with pytest.raises(ValueError, match=message):
        openmix.build_mixer("comixup", **hyper)


@pytest.mark.parametrize(
    "saliency", [torch.rand(4, 8, 8), torch.rand(5, 1, 8, 8), torch.ones(5, 8, 8, dtype=torch.int64)]
)
def test_wrong_saliency_is_named(make_batch, saliency):
    images, labels = make_batch()
    with pytest.raises(ValueError, match=r"saliency must be floating point \(5, h, w\)"):
        comixup(images, labels, saliency=saliency, generator=seeded())


def test_no_gradient_comes_by_way_of_saliency(make_batch):
    images, labels = make_batch(4, 1, 16, 16)
    images.requires_grad_()
    saliency = some_saliency(4, 16, 16).requires_grad_()
    mixed = comixup(images, labels, saliency=saliency, generator=seeded())
    mixed.images.sum().backward()
    assert saliency.grad is None and not mixed.target.weights.requires_grad
    assert images.grad is not None and float(images.grad.sum()) == pytest.approx(images.numel())
