"""Alignment of feature maps by optimal transport, and the plan that mixes aligned features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.blend import blend
from openmix.ops.planes import like_layout
from openmix.ops.plans import OnDevice, check_size, pair, shares

__all__ = ["AlignPlan", "sinkhorn", "transport"]

THRESHOLD = 0.1  # AlignMix's: how little the potentials must move, summed over positions, for the iteration to end


def sinkhorn(cost: Tensor, eps: float, iterations: int, threshold: float = THRESHOLD) -> Tensor:
    """Return the entropic optimal transport plans between uniform distributions, in the log domain.

    Args:
        cost: float (B, P, Q), >= 0.
        eps: the entropy's weight, > 0, in the cost's units.
        iterations: at most so many rounds of row and column scaling.
        threshold: stop when the row potentials of one round differ from the last round's by less, as an absolute sum
            over positions, averaged over the batch. On a GPU, rounds after that are computed and thrown away, so that
            nothing waits for the device.

    Returns:
        (B, P, Q); the columns sum to 1 / Q, the rows approach 1 / P.
    """
    rows, columns = cost.shape[1:]
    log_mu, log_nu = math.log(1 / rows + 1e-8), math.log(1 / columns + 1e-8)
    u, v = cost.new_zeros(len(cost), rows), cost.new_zeros(len(cost), columns)
    done = torch.zeros((), dtype=torch.bool, device=cost.device)

    def scaled(u: Tensor, v: Tensor) -> Tensor:
        return (u[:, :, None] + v[:, None, :] - cost) / eps

    for _ in range(iterations):
        new_u = eps * (log_mu - torch.logsumexp(scaled(u, v), 2)) + u
        new_v = eps * (log_nu - torch.logsumexp(scaled(new_u, v), 1)) + v
        moved = (new_u - u).abs().sum(1).mean()
        u, v = torch.where(done, u, new_u), torch.where(done, v, new_v)
        done = done | (moved < threshold)
        if cost.device.type == "cpu" and bool(done):
            break
    return scaled(u, v).exp()


@torch.library.custom_op("openmix::transport", mutates_args=())
def transport(own: Tensor, other: Tensor, eps: float, iterations: int) -> Tensor:
    """Return which position of ``other`` goes to which of ``own``: the Sinkhorn plan under squared distances.

    One operation to the compiler: unrolled, its iterations would take minutes to compile.

    Args:
        own: (B, P, C).
        other: (B, Q, C).
        eps: see :func:`sinkhorn`.
        iterations: see :func:`sinkhorn`.

    Returns:
        float32 (B, P, Q), without gradient.
    """
    # features are large and eps is small: in single precision, differences of potentials would be noise
    wide = torch.float32 if own.device.type == "mps" else torch.float64
    with torch.autocast(own.device.type, enabled=False):
        x, y = own.to(wide), other.to(wide)
        cost = x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None, :] - 2 * x @ y.transpose(1, 2)
        return sinkhorn(cost.clamp(min=0), eps, iterations).float()


@transport.register_fake
def _(own: Tensor, other: Tensor, eps: float, iterations: int) -> Tensor:
    return own.new_empty(own.shape[0], own.shape[1], other.shape[1], dtype=torch.float32)


@dataclass(frozen=True)
class AlignPlan(OnDevice):
    """Blends each feature map with its partner's, one of the two rearranged to lie like the other.

    Attributes:
        partner: int64 (B,).
        lam: the own share, float32 (B, 1, 1, 1).
        to_own: rearrange the partner's features to lie like the own ones; else the own like the partner's.
        eps: see :func:`sinkhorn`.
        iterations: see :func:`sinkhorn`.
    """

    partner: Tensor
    lam: Tensor
    to_own: bool
    eps: float
    iterations: int

    @property
    def sources(self) -> Tensor:
        """See :class:`~openmix.ops.plans.Plan`."""
        return pair(self.partner)

    @property
    def weights(self) -> Tensor:
        """The share of the blend."""
        return shares(self.lam[:, :, 0, 0])

    @property
    def masks(self) -> None:
        """None: content is moved."""
        return None

    def apply(self, x: Tensor, interpolation: str | None = None) -> Tensor:
        """Mix features (B, C, h, w); which position goes where is found anew, and carries no gradient."""
        check_size(x, len(self.partner), None)
        own, other = x.flatten(2), x[self.partner].flatten(2)  # (B, C, P)
        plan = transport(own.detach().transpose(1, 2), other.detach().transpose(1, 2), self.eps, self.iterations)
        plan = (plan * plan.shape[2]).to(x.dtype)  # columns sum to 1; rows only as far as the iteration has come
        if self.to_own:
            other = other @ plan.transpose(1, 2)
        else:
            own = own @ plan
        return like_layout(blend(own, other, self.lam[..., 0]).unflatten(2, x.shape[2:]), x)
