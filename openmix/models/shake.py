"""Noise that scales residual branches, other in the backward pass than in the forward pass: Shake-Shake and ShakeDrop.

The coefficients are drawn in the forward pass, both passes' at once, from torch's global generator of the branches'
device, as dropout's are. The training step seeds that by (seed, step, shard), so a shard's noise is the same whichever
process computes it. ``torch.compile`` with inductor draws other numbers from the same seed.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from openmix.ops.checks import check_choice, check_probability

__all__ = ["ShakeBackward", "ShakeDrop", "ShakeForward", "ShakeLevel", "ShakeShakeSum", "shake_scale", "shake_sum"]

ShakeForward = Literal["even", "shake"]
ShakeBackward = Literal["keep", "even", "shake"]
ShakeLevel = Literal["batch", "image"]


class _ShakeSum(torch.autograd.Function):
    @staticmethod
    def forward(branch1: Tensor, branch2: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        return torch.lerp(branch2, branch1, alpha.to(branch1.dtype))  # one kernel, whose weights sum to 1 in any dtype

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[3])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        (beta,) = ctx.saved_tensors
        return beta.to(grad.dtype) * grad, (1 - beta).to(grad.dtype) * grad, None, None


class _ShakeScale(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        return alpha.to(x.dtype) * x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (beta,) = ctx.saved_tensors
        return beta.to(grad.dtype) * grad, None, None


def shake_sum(branch1: Tensor, branch2: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Return ``alpha * branch1 + (1 - alpha) * branch2``, whose gradients are those of ``beta`` instead of ``alpha``.

    Args:
        branch1, branch2: of one shape and dtype.
        alpha, beta: coefficients, broadcastable to the branches; they get no gradient.

    Returns:
        A tensor of the branches' shape and dtype. A gradient ``g`` of it becomes ``beta * g`` for the first branch and
        ``(1 - beta) * g`` for the second.

    >>> one, two = torch.tensor([4.0], requires_grad=True), torch.tensor([8.0], requires_grad=True)
    >>> total = shake_sum(one, two, torch.tensor([0.25]), torch.tensor([0.875]))
    >>> total.backward()
    >>> total.item(), one.grad.item(), two.grad.item()
    (7.0, 0.875, 0.125)
    """
    return _ShakeSum.apply(branch1, branch2, alpha, beta)  # type: ignore[return-value]


def shake_scale(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Return ``alpha * x``, whose gradient is that of ``beta * x``; alpha and beta broadcast to x and get no gradient.

    >>> x = torch.tensor([4.0], requires_grad=True)
    >>> scaled = shake_scale(x, torch.tensor([-0.5]), torch.tensor([0.25]))
    >>> scaled.backward()
    >>> scaled.item(), x.grad.item()
    (-2.0, 0.25)
    """
    return _ShakeScale.apply(x, alpha, beta)  # type: ignore[return-value]


class ShakeShakeSum(nn.Module):
    """Shake-Shake (Gastaldi, 2017), arXiv:1705.07485: a random convex combination of two residual branches.

    In training the branches are weighed by alpha and 1 - alpha, their gradients by beta and 1 - beta; alpha and beta
    are independent and uniform in [0, 1). In evaluation both passes take the mean, 1/2, where the PyTorch codes that
    descend from Fast AutoAugment still draw beta.

    Args:
        forward: 'shake' (default) draws alpha, 'even' is 1/2.
        backward: 'shake' (default) draws beta, 'even' is 1/2, 'keep' is alpha.
        level: 'image' (default) draws for each image, 'batch' once for all of a batch.

    Raises:
        ValueError: another forward, backward or level.
    """

    def __init__(
        self, forward: ShakeForward = "shake", backward: ShakeBackward = "shake", level: ShakeLevel = "image"
    ) -> None:
        super().__init__()
        check_choice("forward", forward, get_args(ShakeForward))
        check_choice("backward", backward, get_args(ShakeBackward))
        check_choice("level", level, get_args(ShakeLevel))
        self.forward_mode = forward
        self.backward_mode = backward
        self.level: ShakeLevel = level

    def forward(self, branch1: Tensor, branch2: Tensor) -> Tensor:
        """Return the sum for two branches (B, ...), of their shape and dtype."""
        if not self.training:
            return torch.lerp(branch2, branch1, 0.5)
        alpha, beta = _draw(branch1, self.level)
        if self.forward_mode == "even":
            alpha = torch.full_like(alpha, 0.5)
        if self.backward_mode == "even":
            beta = torch.full_like(beta, 0.5)
        elif self.backward_mode == "keep":
            beta = alpha.clone()  # torch.compile takes no tensor for two arguments of an autograd function
        return shake_sum(branch1, branch2, alpha, beta)


class ShakeDrop(nn.Module):
    """ShakeDrop (Yamada et al., IEEE Access 2019), arXiv:1802.02375: a residual branch is kept, or scaled at random.

    In training one draw for the whole batch keeps the branch with probability ``keep_prob``; otherwise it is scaled by
    alpha, uniform in [-1, 1), and its gradient by beta, uniform in [0, 1). In evaluation it is scaled by the mean of
    the factor, which is ``keep_prob``. The paper finds ranges and levels by experiment; these are its choice for
    networks whose blocks end with BatchNorm, and 'image' is what its PyTorch codes have.

    Args:
        keep_prob: in [0, 1].
        level: 'image' (default) draws alpha and beta for each image, 'batch' once for all of a batch.

    Raises:
        ValueError: keep_prob out of range, or another level.
    """

    def __init__(self, keep_prob: float, level: ShakeLevel = "image") -> None:
        super().__init__()
        check_probability("keep_prob", keep_prob)
        check_choice("level", level, get_args(ShakeLevel))
        self.keep_prob = keep_prob
        self.level: ShakeLevel = level

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled branch for one (B, ...), of its shape and dtype."""
        if not self.training:
            return self.keep_prob * x
        kept = torch.rand((), dtype=torch.float32, device=x.device) < self.keep_prob
        alpha, beta = _draw(x, self.level)
        return shake_scale(x, torch.where(kept, 1.0, 2 * alpha - 1), torch.where(kept, 1.0, beta))


def _draw(x: Tensor, level: ShakeLevel) -> tuple[Tensor, ...]:
    """Draw two independent coefficients from U[0, 1) for x (B, ...): float32 (B or 1, 1, ...) on its device."""
    count = len(x) if level == "image" else 1
    return torch.rand(2, count, *(1 for _ in x.shape[1:]), dtype=torch.float32, device=x.device).unbind()
