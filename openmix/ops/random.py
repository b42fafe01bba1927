"""Randomness derived from a key, never carried: the draw of step n is a function of the seed and n.

A run resumes exactly because there is no generator state to save, and the number of loader workers cannot matter.
Every draw is made on the CPU, whatever torch's default device is, so that it is the same on all devices.
"""

import hashlib

import torch
from torch import Tensor

__all__ = ["derive_seed", "generator_for", "sample_beta", "sample_integers", "sample_partner", "sample_uniform"]


def derive_seed(*key: int | str) -> int:
    """Hash a key to a 63-bit seed.

    Args:
        key: what names the draw, for example ``(seed, "mix", shard, step)``. ``1`` and ``"1"`` are different keys.

    Returns:
        An integer in [0, 2**63), the same on every machine and Python version.

    >>> derive_seed(0, "mix", 1) == derive_seed(0, "mix", 1), derive_seed(0, "mix", 1) == derive_seed(0, "mix", 2)
    (True, False)
    """
    digest = hashlib.blake2b(
        repr(tuple(int(k) if not isinstance(k, str) else k for k in key)).encode(), digest_size=8
    ).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(*key: int | str) -> torch.Generator:
    """Return a CPU generator seeded with :func:`derive_seed` of ``key``."""
    return torch.Generator("cpu").manual_seed(derive_seed(*key))


def sample_beta(alpha: float, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw from Beta(alpha, alpha).

    ``torch.distributions.Beta`` takes no generator, so this asks the Gamma sampler beneath it (private to torch, called
    here only): the share of one Gamma(alpha) draw in the sum of two. It is taken in logarithms, as Gamma(alpha + 1)
    times a uniform to the power of 1 / alpha, because the draws themselves underflow where alpha is small.

    Args:
        alpha: the parameter, > 0.
        shape: shape of the result.
        generator: a CPU generator; None takes torch's default one.

    Returns:
        float32 tensor in [0, 1] on the CPU.
    """
    above_one = torch.full((2, *shape), alpha + 1, dtype=torch.float64, device="cpu")
    gamma = torch._standard_gamma(above_one, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
    uniform = torch.rand(gamma.shape, generator=generator, dtype=torch.float64, device="cpu")
    log_gamma = gamma.log() + uniform.log() / alpha
    return torch.sigmoid(log_gamma[0] - log_gamma[1]).float()


def sample_partner(batch_size: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw the partner of every image: a uniform permutation, fixed points included, int64 (B,) on the CPU."""
    return torch.randperm(batch_size, generator=generator, device="cpu")


def sample_uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw uniformly from [low, high): float64 of ``shape`` on the CPU."""
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")


def sample_integers(limit: int, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw uniformly from 0 .. limit-1: int64 of ``shape`` on the CPU."""
    return torch.randint(limit, shape, generator=generator, device="cpu")
