"""Learning-rate schedules that torch lacks."""

from bisect import bisect_left
from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from openmix.registry import PARAM_SCHEDULERS

__all__ = ["PiecewiseLinearLR"]


@PARAM_SCHEDULERS.register_module()
class PiecewiseLinearLR(LRScheduler):
    """Straight lines between knots, for one-cycle-like schedules and those of several phases.

    The rate of a step is the line's value where the step ends, so that the last step has the last knot's rate; this is
    how the ImageNet recipe of "Fast is better than free" (Wong et al., ICLR 2020) counts, which R-Mix took over. Two
    knots at one place are a jump: the step that ends there still has the first one's rate.

    Args:
        optimizer: whose rate is set; its own ``lr`` counts for nothing, ``lr_mult`` of its groups does.
        knots: ``(place, rate)`` in rising order of place; places are steps, or epochs with ``convert_to_iter_based``.
            Before the first knot and after the last one the rate is theirs.

    Raises:
        ValueError: no knot, places that fall, a negative rate.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> schedule = PiecewiseLinearLR(optimizer, [(0, 0.0), (2, 1.0), (2, 0.5), (4, 0.0)])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(optimizer.param_groups[0]["lr"])
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 1.0, 0.25, 0.0]
    """

    def __init__(self, optimizer: Optimizer, knots: Sequence[Sequence[float]]) -> None:
        if not knots or any(len(knot) != 2 for knot in knots):
            raise ValueError(f"knots must be pairs (place, rate), got {knots}")
        self.places, self.rates = zip(*knots, strict=True)
        if list(self.places) != sorted(self.places) or min(self.rates) < 0:
            raise ValueError(f"knots must rise in their place and have rates of at least 0, got {knots}")
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return every group's rate for the step after ``last_epoch`` steps."""
        rate = self._rate(self.last_epoch + 1)
        return [rate * group.get("lr_mult", 1.0) for group in self.optimizer.param_groups]

    def _rate(self, place: float) -> float:
        after = bisect_left(self.places, place)
        if after in (0, len(self.places)):
            return self.rates[min(after, len(self.places) - 1)]
        (x0, x1), (y0, y1) = self.places[after - 1 : after + 1], self.rates[after - 1 : after + 1]
        return y0 + (y1 - y0) * (place - x0) / (x1 - x0)
