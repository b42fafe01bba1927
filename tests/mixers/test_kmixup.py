"""k-Mixup's partners against the Hungarian algorithm; its blend against MixUp's formula."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment

import openmix
from openmix.mixers.kmixup import match_groups


@pytest.mark.parametrize(("batch", "k"), [(8, 4), (9, 4), (7, 3), (6, 6), (5, 2), (3, 4), (1, 4), (4, 1)])
def test_groups_are_matched_at_least_cost(batch, k):
    generator = torch.Generator().manual_seed(batch * 10 + k)
    images = torch.rand(batch, 2, 3, 4, generator=generator)
    group, partner = torch.randperm(batch, generator=generator), torch.randperm(batch, generator=generator)
    matched = match_groups(images, group, partner, k)
    assert sorted(matched.tolist()) == list(range(batch))
    flat = images.flatten(1).double()
    for start in range(0, batch, k):
        own, other = group[start : start + k], partner[start : start + k]
        if len(own) < k:
            assert torch.equal(matched[own], other)  # what is left over keeps its random partner
            continue
        assert sorted(matched[own].tolist()) == sorted(other.tolist())
        cost = torch.cdist(flat[own], flat[other]).square()
        rows, columns = linear_sum_assignment(cost.numpy())
        achieved = sum(float((flat[i] - flat[matched[i]]).square().sum()) for i in own.tolist())
        assert achieved == pytest.approx(float(cost[rows, columns].sum()), rel=1e-5)


@pytest.mark.parametrize("per_sample", [False, True])
def test_it_blends_as_mixup_does(make_batch, per_sample):
    images, labels = make_batch(batch=9)
    mixer = openmix.KMixUp(k=4, per_sample=per_sample)
    mixed = mixer(images, labels, generator=torch.Generator().manual_seed(0))
    lam = mixed.target.weights[:, 0]
    assert (len(set(lam.tolist())) > 1) == per_sample
    for b in range(9):
        wanted = lam[b] * images[b] + (1 - lam[b]) * images[mixed.partner[b]]
        torch.testing.assert_close(mixed.images[b], wanted)
    assert torch.equal(mixed.target.labels[:, 1], labels[mixed.partner])


def test_partners_are_nearer_than_mixups(make_batch):
    images, labels = make_batch(batch=64)

    def distance(mixer) -> float:
        total = 0.0
        for seed in range(10):
            mixed = mixer(images, labels, generator=torch.Generator().manual_seed(seed))
            total += float((images - images[mixed.partner]).square().mean())
        return total

    assert distance(openmix.KMixUp(k=6)) < 0.99 * distance(openmix.KMixUp(k=1))


def test_groups_of_one_are_mixup(make_batch):
    images, labels = make_batch(batch=7)
    mixed = openmix.KMixUp(k=1)(images, labels, generator=torch.Generator().manual_seed(1))
    single = openmix.MixUp()(images, labels, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mixed.target.weights, single.target.weights)
    # the groups come in random order: the same partners, dealt out anew
    assert sorted(mixed.partner.tolist()) == list(range(7))


@pytest.mark.parametrize("k", [0, 7, -1, 2.0, "4"])
def test_bad_k_is_named(k):
    with pytest.raises(ValueError, match="k must"):
        openmix.KMixUp(k=k)
