"""Randomness derived from a key, never carried: the draw of step n is a function of the seed and n.

A run resumes exactly because there is no generator state to save, and the number of loader workers cannot matter.
Every draw is made on the CPU, whatever torch's default device is, so that it is the same on all devices.
"""

import functools
import math
from hashlib import blake2b

import torch
from torch import Tensor

__all__ = [
    "derive_seed", "generator_for", "sample_beta", "sample_dirichlet", "sample_integers", "sample_partner",
    "sample_sources", "sample_uniform",
]  # fmt: skip


def derive_seed(*key: int | str) -> int:
    """Hash a key to a 63-bit seed.

    Args:
        key: what names the draw, for example ``(seed, "mix", shard, step)``. ``1`` and ``"1"`` are different keys.

    Returns:
        An integer in [0, 2**63), the same on every machine and Python version.

    >>> derive_seed(0, "mix", 1) == derive_seed(0, "mix", 1), derive_seed(0, "mix", 1) == derive_seed(0, "mix", 2)
    (True, False)
    """
    if not {int, str}.issuperset(map(type, key)):  # numpy's numbers, say, are written otherwise
        key = tuple(k if isinstance(k, str) else int(k) for k in key)
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1


def generator_for(*key: int | str) -> torch.Generator:
    """Return a CPU generator seeded with :func:`derive_seed` of ``key``."""
    return torch.Generator("cpu").manual_seed(derive_seed(*key))


def sample_beta(
    alpha: float, shape: tuple[int, ...], generator: torch.Generator | None = None, beta: float | None = None
) -> Tensor:
    """Draw from Beta(alpha, beta).

    Args:
        alpha: the first parameter, > 0.
        shape: shape of the result.
        generator: a CPU generator; None takes torch's default one.
        beta: the second parameter, > 0; None is the first again.

    Returns:
        float32 tensor in [0, 1] on the CPU.
    """
    alphas = alpha, alpha if beta is None else beta
    if math.prod(shape) == 1:  # one for a batch, the usual case
        return torch.full(shape, _one_beta(alphas, generator), dtype=torch.float32, device="cpu")
    log_a, log_b = _log_gamma(torch.tensor(alphas, dtype=torch.float64, device="cpu"), shape, generator)
    return torch.sigmoid(log_a - log_b).float()


def _one_beta(alphas: tuple[float, float], generator: torch.Generator | None) -> float:
    """Draw a single number as :func:`_log_gamma` would, in Python's arithmetic: it takes a third of torch's time."""
    draws = [drawn.tolist() for drawn in _gamma_draws(_above(alphas), generator)]
    log_a, log_b = (
        math.log(above_one) + (math.log(uniform) if uniform else -math.inf) / alpha
        for above_one, uniform, alpha in zip(*draws, alphas, strict=True)
    )
    odds = math.exp(-abs(log_a - log_b))  # of the smaller share: never too large
    return (1 if log_a > log_b else odds) / (1 + odds)


@functools.lru_cache
def _above(alphas: tuple[float, ...]) -> Tensor:
    return torch.tensor(alphas, dtype=torch.float64, device="cpu") + 1


def sample_dirichlet(alpha: float, shape: tuple[int, ...], k: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw from Dirichlet(alpha, ..., alpha) of ``k`` parts: float32 (*shape, k) on the CPU, each row summing to 1."""
    log_parts = _log_gamma(torch.full((k,), alpha, dtype=torch.float64, device="cpu"), shape, generator)
    return torch.softmax(log_parts, dim=0).movedim(0, -1).float()


def _log_gamma(alphas: Tensor, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Draw the logarithms of Gamma(alpha) for each of alphas (K,): float64 (K, *shape).

    Gamma(alpha) is drawn as Gamma(alpha + 1) times a uniform to the power of 1 / alpha, and in logarithms, as the draws
    themselves underflow where alpha is small.
    """
    alphas = alphas.view(-1, *(1 for _ in shape)).expand(-1, *shape)
    above_one, uniform = _gamma_draws((alphas + 1).contiguous(), generator)
    return above_one.log() + uniform.log() / alphas


def _gamma_draws(above: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Draw from Gamma(a) for each a of ``above``, which are above 1, and then as many from [0, 1).

    ``torch.distributions`` takes no generator, so this asks the sampler beneath it, private to torch and called here
    only.
    """
    above_one = torch._standard_gamma(above, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
    return above_one, torch.rand(above.shape, generator=generator, dtype=torch.float64, device="cpu")


def sample_partner(batch_size: int, generator: torch.Generator | None = None, tries: int = 1) -> Tensor:
    """Draw the partner of every image: a uniform permutation, int64 (B,) on the CPU.

    Args:
        batch_size: B.
        generator: a CPU generator; None takes torch's default one.
        tries: how many permutations to draw, at most, for one that leaves no image its own partner. 1 takes the first.
    """
    partner = torch.randperm(batch_size, generator=generator, device="cpu")
    for _ in range(tries - 1):
        if not (partner == torch.arange(batch_size, device="cpu")).any():
            break
        partner = torch.randperm(batch_size, generator=generator, device="cpu")
    return partner


def sample_sources(batch_size: int, k: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw the k images that each image is made of, itself first, then k - 1 partners: int64 (B, k) on the CPU."""
    partners = [sample_partner(batch_size, generator) for _ in range(k - 1)]
    return torch.stack([torch.arange(batch_size, device="cpu"), *partners], dim=1)


def sample_uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw uniformly from [low, high): float64 of ``shape`` on the CPU."""
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")


def sample_integers(limit: int, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw uniformly from 0 .. limit-1: int64 of ``shape`` on the CPU."""
    return torch.randint(limit, shape, generator=generator, device="cpu")
