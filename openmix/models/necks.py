"""Necks: from a backbone's feature maps to what a head takes."""

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["GlobalAveragePooling"]


class GlobalAveragePooling(nn.Module):
    """The spatial mean of the last feature map: (B, C, h, w) -> (B, C)."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Pool the last of ``features``."""
        return features[-1].mean((2, 3))
