"""A queue of features that earlier batches had."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.errors import UserError
from openmix.ops.checks import check_integer

__all__ = ["FeatureQueue"]


class FeatureQueue(nn.Module):
    """The latest ``size`` features, as negatives for others: a ring, in which what comes takes the oldest's places.

    It begins with random directions, drawn from torch's global generator when it is built. Any number may be pushed at
    a time; nothing waits for the device.

    Args:
        size: how many, at least 1.
        channels: of each.

    Attributes:
        features: float32 (size, channels), in no order that matters, each of length 1.
        place: int64, 0-d: where the next one goes.

    >>> queue = FeatureQueue(3, 2)
    >>> queue.push(torch.tensor([[3.0, 4.0]]))
    >>> queue.features[0], queue.place
    (tensor([0.6000, 0.8000]), tensor(1))
    """

    features: Tensor
    place: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        check_integer("queue_size", size, 1)
        check_integer("channels", channels, 1)
        self.register_buffer("features", F.normalize(torch.randn(size, channels), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Refuse what no run can have saved: a place outside, features longer than 1."""
        features, place = (state_dict.get(f"{prefix}{name}") for name in ("features", "place"))
        if place is not None and not place.is_meta and not 0 <= place < len(self.features):
            raise UserError(
                f"the checkpoint is damaged: {prefix}place is {place.item()}, not in [0, {len(self.features)})"
            )
        if features is not None and not features.is_meta and features.norm(dim=1).max() > 1.001:
            raise UserError(f"the checkpoint is damaged: {prefix}features are longer than 1")
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Put features (B, channels), first to last, in the oldest ones' places, scaled to length 1.

        Of more than fit the last stay.
        """
        count, size = len(features), len(self.features)
        latest = F.normalize(features[-size:].to(self.features.dtype), dim=1)
        offsets = torch.arange(count - len(latest), count, device=self.place.device)
        self.features.index_copy_(0, (self.place + offsets) % size, latest)
        self.place.add_(count).remainder_(size)
