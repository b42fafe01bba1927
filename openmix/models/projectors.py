"""Projectors and predictors: the small networks between a trunk and a loss without labels."""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from openmix.ops.checks import check_choice, check_integer

__all__ = ["ProjectionMLP"]

Norm = Literal["none", "first", "hidden", "all"]


class ProjectionMLP(nn.Module):
    """Linear layers with ReLU between them, and BatchNorm behind some of them.

    ======================= ================================ ==================
    method                  ``channels``                     ``norm``
    ======================= ================================ ==================
    MoCo, its CIFAR demo    [128]                            any
    MoCo v2                 [2048, 128]                      'none'
    asym-siam's MoCo v2     [2048, 2048, 128]                'first'
    SimSiam, MoCo v3        [2048, 2048, 2048], [4096, 256]  'all'
    their predictors        [512, 2048], [4096, 256]         'hidden'
    ======================= ================================ ==================

    Args:
        in_channels: of the features; a config may leave it out, and the part before it decides.
        channels: the linear layers' outputs, first to last.
        norm: which layers have BatchNorm behind them, in place of a bias: 'none'; 'first', the first one, if another
            comes behind it; 'hidden' (default), all but the last; 'all', where the last one's has no weight and bias.

    Raises:
        ValueError: no layer, or one without channels; an unknown norm.

    Attributes:
        out_channels: the last of ``channels``.

    >>> [type(layer).__name__ for layer in ProjectionMLP(512, [64, 16]).layers]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """

    def __init__(self, in_channels: int, channels: Sequence[int], norm: Norm = "hidden") -> None:
        super().__init__()
        check_integer("in_channels", in_channels, 1)
        if not isinstance(channels, list | tuple) or not channels:
            raise ValueError(f"channels must be the outputs of one linear layer at least, got {channels!r}")
        for width in channels:
            check_integer("each of channels", width, 1)
        check_choice("norm", norm, get_args(Norm))
        self.out_channels = channels[-1]
        layers: list[nn.Module] = []
        last = len(channels) - 1
        for i, (before, width) in enumerate(zip([in_channels, *channels], channels, strict=False)):
            normed = norm == "all" or (i < last and (norm == "hidden" or (norm == "first" and i == 0)))
            layers.append(nn.Linear(before, width, bias=not normed))
            layers += [nn.BatchNorm1d(width, affine=i < last)] if normed else []
            layers += [nn.ReLU(inplace=True)] if i < last else []
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, out_channels) for pooled features (B, in_channels)."""
        return self.layers(features)
