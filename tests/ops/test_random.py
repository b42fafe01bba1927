"""Keyed randomness: stable, distinct, independent; and the samplers against SciPy."""

from collections import Counter

import pytest
import torch
from scipy import stats

from openmix.ops import random
from openmix.ops.random import (
    derive_seed,
    generator_for,
    sample_beta,
    sample_dirichlet,
    sample_partner,
    sample_sources,
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "seed"),
    [((0,), 2631537505891389924), ((0, "mix", 0, 1), 9128440313863705718), (("a", -3), 3859297244471456823)],
)
def test_seeds_are_the_same_on_every_machine(key, seed):
    """A change here makes every recorded run irreproducible."""
    assert derive_seed(*key) == seed


def test_every_key_has_its_own_seed():
    keys = [
        (1,),
        ("1",),
        (1, 2),
        (12,),
        ("1", 2),
        ("12",),
        ("1, 2",),
        (2, 1),
        (-1,),
        ("",),
        ("", ""),
        (),
        (1, ""),
        ("'",),
    ]
    seeds = {derive_seed(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_no_seed_twice_over_steps_and_shards():
    seeds = {derive_seed(0, "mix", shard, step) for shard in range(8) for step in range(1000)}
    assert len(seeds) == 8000


def test_generators_of_one_key_draw_the_same_and_leave_torch_alone():
    before = torch.get_rng_state()
    first, second = generator_for(3, "mix", 5), generator_for(3, "mix", 5)
    assert first.device.type == "cpu"
    assert torch.equal(torch.rand(50, generator=first), torch.rand(50, generator=second))
    assert not torch.equal(torch.rand(50, generator=first), torch.rand(50, generator=generator_for(3, "mix", 6)))
    assert torch.equal(torch.get_rng_state(), before)


def test_consecutive_keys_are_independent():
    draws = torch.stack([torch.rand(2, generator=generator_for(0, "mix", 0, step)) for step in range(4000)]).double()
    for column in draws.T:
        assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-4
    pairs = [(draws[:-1, 0], draws[1:, 0]), (draws[:-1, 1], draws[1:, 0]), (draws[:, 0], draws[:, 1])]
    for a, b in pairs:
        # A correlation of n independent pairs has standard deviation n**-0.5.
        assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 4 * 4000**-0.5


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_beta_quantiles(alpha):
    n = 50_000
    draws = sample_beta(alpha, (n,), torch.Generator().manual_seed(1)).double()
    assert bool(draws.isfinite().all()) and float(draws.min()) >= 0 and float(draws.max()) <= 1
    for p in (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98):
        x = stats.beta.ppf(p, alpha, alpha)
        # Not tested where single precision cannot tell the quantile from 0 or 1.
        if 1e-30 < x < 1 - 1e-6:
            assert float((draws <= x).double().mean()) == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)
    assert float(draws.mean()) == pytest.approx(0.5, abs=4 * float(draws.var() / n) ** 0.5)
    variance = 1 / (4 * (2 * alpha + 1))
    assert float(draws.var()) == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4)])
def test_beta_shape_and_type(shape):
    draws = sample_beta(1.0, shape, torch.Generator().manual_seed(0))
    assert draws.shape == shape and draws.dtype == torch.float32 and draws.device.type == "cpu"


def test_beta_obeys_its_generator():
    first = sample_beta(0.4, (9,), torch.Generator().manual_seed(0))
    assert torch.equal(first, sample_beta(0.4, (9,), torch.Generator().manual_seed(0)))
    assert not torch.equal(first, sample_beta(0.4, (9,), torch.Generator().manual_seed(1)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert torch.equal(first, sample_beta(0.4, (9,)))


def test_partner_is_a_uniform_permutation():
    generator = torch.Generator().manual_seed(2)
    counts = Counter(tuple(sample_partner(4, generator).tolist()) for _ in range(4800))
    assert len(counts) == 24, "fixed points included"
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("size", [0, 1, 2, 5, 256])
def test_partner_names_every_image_once(size):
    partner = sample_partner(size, torch.Generator().manual_seed(0))
    assert partner.dtype == torch.int64 and partner.device.type == "cpu"
    assert sorted(partner.tolist()) == list(range(size))


def test_partner_obeys_its_generator():
    first = sample_partner(50, torch.Generator().manual_seed(0))
    assert torch.equal(first, sample_partner(50, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, sample_partner(50, torch.Generator().manual_seed(1)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert torch.equal(first, sample_partner(50))


@pytest.mark.parametrize("alpha", [1e-9, 1e-6, 1e-4, 1e-3, 5e-3])
def test_tiny_alphas_give_nearly_zero_or_one(alpha):
    """The limit of the law: one image or the other, and not the half-and-half of an underflow."""
    lam = sample_beta(alpha, (20_000,), generator_for("tiny", str(alpha))).double()
    assert torch.isfinite(lam).all()
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(float(lam.mean()) - 0.5) < 4 * (variance / len(lam)) ** 0.5
    assert abs(float(lam.var()) - variance) < 0.002
    assert float(((lam > 0.01) & (lam < 0.99)).double().mean()) < 20 * alpha + 1e-3


@pytest.mark.parametrize(("a", "b"), [(2.0, 1.0), (1.0, 2.0), (0.3, 0.3), (1.2, 0.2), (0.05, 3.0), (5.0, 0.5)])
def test_beta_of_two_parameters(a, b):
    n = 50_000
    draws = sample_beta(a, (n,), generator_for("two", str(a), str(b)), beta=b).double()
    for p in (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98):
        x = stats.beta.ppf(p, a, b)
        if 1e-30 < x < 1 - 1e-6:
            assert float((draws <= x).double().mean()) == pytest.approx(p, abs=4.5 * (p * (1 - p) / n) ** 0.5)
    mean, variance = stats.beta.stats(a, b)
    assert float(draws.mean()) == pytest.approx(float(mean), abs=4.5 * float(variance / n) ** 0.5)


def test_beta_of_one_parameter_has_it_twice():
    one, two = (sample_beta(0.7, (50,), generator_for("twice"), **more) for more in ({}, {"beta": 0.7}))
    assert torch.equal(one, two)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("k", [2, 3, 6])
def test_dirichlet_marginals_and_moments(alpha, k):
    n = 20_000
    draws = sample_dirichlet(alpha, (n,), k, generator_for("dirichlet", k)).double()
    assert draws.shape == (n, k) and float(draws.min()) >= 0
    torch.testing.assert_close(draws.sum(1), torch.ones(n).double(), rtol=0, atol=1e-6)
    marginal = stats.beta(alpha, (k - 1) * alpha)
    for part in draws.T:
        for p in (0.1, 0.25, 0.5, 0.75, 0.9):
            share = float((part <= marginal.ppf(p)).double().mean())
            assert share == pytest.approx(p, abs=4.5 * (p * (1 - p) / n) ** 0.5)
        assert float(part.mean()) == pytest.approx(1 / k, abs=4.5 * float(marginal.var() / n) ** 0.5)
    for i in range(k):
        for j in range(i):
            products = draws[:, i] * draws[:, j]
            # E[p_i p_j] = alpha^2 / (k alpha (k alpha + 1))
            wanted = alpha / (k * (k * alpha + 1))
            assert float(products.mean()) == pytest.approx(wanted, abs=4.5 * float(products.var() / n) ** 0.5)


@pytest.mark.parametrize("alpha", [1e-9, 1e-4, 5e-3])
def test_tiny_alphas_give_one_part_nearly_all(alpha):
    draws = sample_dirichlet(alpha, (6000,), 3, generator_for("tiny parts", str(alpha))).double()
    assert torch.isfinite(draws).all()
    assert float((draws.amax(1) < 0.99).double().mean()) < 20 * alpha + 1e-3
    counts = torch.bincount(draws.argmax(1), minlength=3).numpy()
    assert stats.chisquare(counts).pvalue > 1e-5


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4)])
def test_dirichlet_shape_and_type(shape):
    draws = sample_dirichlet(1.0, shape, 5, torch.Generator().manual_seed(0))
    assert draws.shape == (*shape, 5) and draws.dtype == torch.float32 and draws.device.type == "cpu"


def test_dirichlet_obeys_its_generator():
    first = sample_dirichlet(0.4, (9,), 3, torch.Generator().manual_seed(0))
    assert torch.equal(first, sample_dirichlet(0.4, (9,), 3, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, sample_dirichlet(0.4, (9,), 3, torch.Generator().manual_seed(1)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert torch.equal(first, sample_dirichlet(0.4, (9,), 3))


def test_sources_are_the_image_and_independent_uniform_permutations():
    generator = torch.Generator().manual_seed(3)
    counts: Counter[tuple[tuple[int, ...], ...]] = Counter()
    for _ in range(3600):
        sources = sample_sources(3, 3, generator)
        assert sources.dtype == torch.int64 and sources.shape == (3, 3)
        assert sources[:, 0].tolist() == [0, 1, 2]
        counts[tuple(map(tuple, sources.T[1:].tolist()))] += 1
    assert len(counts) == 36
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize(("size", "k"), [(1, 4), (5, 1), (5, 2), (64, 6)])
def test_sources_name_every_image_once_in_every_column(size, k):
    sources = sample_sources(size, k, torch.Generator().manual_seed(0))
    assert sources.shape == (size, k) and sources.device.type == "cpu"
    assert all(sorted(column) == list(range(size)) for column in sources.T.tolist())


def test_sources_of_a_pair_are_the_image_and_its_partner():
    first = sample_sources(20, 2, torch.Generator().manual_seed(4))
    assert torch.equal(first[:, 1], sample_partner(20, torch.Generator().manual_seed(4)))


@pytest.mark.parametrize("alpha", [1e-46, 1e-8, 1e8, 1e39])
def test_beta_and_dirichlet_of_extreme_parameters_are_numbers(alpha):
    generator = torch.Generator().manual_seed(0)
    lam = sample_beta(alpha, (1000,), generator)
    shares = sample_dirichlet(alpha, (1000,), 3, generator)
    assert bool(lam.isfinite().all()) and bool(shares.isfinite().all())
    assert float(lam.mean()) == pytest.approx(0.5, abs=0.08)
    torch.testing.assert_close(shares.sum(1), torch.ones(1000))
    extreme = (lam - 0.5).abs()
    assert bool((extreme > 0.49).all() if alpha < 1 else (extreme < 0.01).all())


@pytest.mark.parametrize("alpha", [1e-4, 0.01, 0.2, 1.0, 8.0])
@pytest.mark.parametrize("beta", [None, 2.0])
def test_a_single_beta_is_what_tensors_would_draw(alpha, beta):
    """One number is computed without tensors; of the two, neither is another's draw."""
    both = torch.tensor([alpha, alpha if beta is None else beta], dtype=torch.float64)
    for seed in range(200):
        log_a, log_b = random._log_gamma(both, (1,), torch.Generator().manual_seed(seed))
        drawn = sample_beta(alpha, (1, 1), torch.Generator().manual_seed(seed), beta)
        assert torch.equal(drawn, torch.sigmoid(log_a - log_b).float()[None])


def test_a_uniform_of_zero_is_the_smallest_share(monkeypatch):
    monkeypatch.setattr(random, "_gamma_draws", lambda alphas, _: (torch.ones(2), torch.tensor([0.0, 0.5])))
    assert sample_beta(1.0, (1,)).item() == 0
