"""The mix block of AutoMix and SAMix: from the features of two images to the mask that mixes them.

AutoMix (Liu et al., ECCV 2022, arXiv:2103.13027), SAMix (Li et al., arXiv:2111.15454). Their code's ``PixelMixBlock``
has options that no published configuration uses (other attentions, norms and necks before it); they are not here.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.ops.checks import check_choice, check_flag, check_integer, check_number, check_probability
from openmix.ops.learned_masks import rescale_lam
from openmix.ops.losses import in_float32

__all__ = ["PixelMixBlock", "check_mix", "full_precision", "init_mix_block"]


class PixelMixBlock(nn.Module):
    """Attention from each place of an image to those of its partner, whose values it gathers: the partner's mask.

    With z and z' the features of an image and of its partner and d the inner channels::

        P = softmax(query(z) @ key(z')^T / sqrt(d))      each place of the image, over the places of the partner
        partner's share = sigmoid(upsample(P @ value(z')))

    and the own share is 1 minus that. Lambda may enter as a channel (``lam_concat``, AutoMix's) or as a factor
    (``lam_mul``, SAMix's); without either, masks do not depend on it, as in AutoMix's configurations for CIFAR.

    Args:
        in_channels: C, of the features.
        reduction: d is C divided by this, at least 1. Default 2, the authors'.
        lam_concat: lambda and 1 - lambda are a further channel of z and z'. Default True, as in the paper and in the
            authors' configurations for large images.
        lam_mul: z is multiplied by 1 + lambda', z' by 2 - lambda'. Default False; SAMix has it.
        lam_mul_k: of lambda', see :func:`~openmix.ops.learned_masks.rescale_lam`; goes with ``lam_mul``. Default -1,
            lambda itself, SAMix's for large images; for CIFAR it has 0.25.
        qk_concat: query and key both see the two images' features, and are two networks instead of one. SAMix's.
        value_layers: of the value network, 1x1 convolutions: 1 (default, AutoMix's), or 2 with C / 2 channels between,
            BatchNorm and ELU, without biases (SAMix's).
        lam_before_norm: let lambda' scale what that BatchNorm normalises, as in the authors' code. In training it then
            cancels lambda' in the values, and masks follow lambda by queries and keys alone. Default False: lambda'
            scales the norm's result.
        value_dropout: of the two layers' result, in [0, 1); SAMix has 0.1 for large images. Default 0.
        upsampling: 'nearest' (default, AutoMix's) or 'bilinear' (SAMix's).

    Raises:
        ValueError: an argument out of range, or two that exclude each other.

    >>> block = PixelMixBlock(8)
    >>> features, sources = torch.rand(2, 8, 4, 4), torch.tensor([[0, 1], [1, 0]])
    >>> shares = block(features, sources, torch.tensor([[0.3, 0.7]]), size=(16, 16))
    >>> shares.shape, bool((shares.sum(1) == 1).all())
    (torch.Size([2, 2, 16, 16]), True)
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        lam_concat: bool = True,
        lam_mul: bool = False,
        lam_mul_k: float = -1.0,
        qk_concat: bool = False,
        value_layers: int = 1,
        lam_before_norm: bool = False,
        value_dropout: float = 0.0,
        upsampling: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        for name, number in (("in_channels", in_channels), ("reduction", reduction), ("value_layers", value_layers)):
            check_integer(name, number, 1)
        for name, flag in (("lam_concat", lam_concat), ("lam_mul", lam_mul), ("qk_concat", qk_concat)):
            check_flag(name, flag)
        check_flag("lam_before_norm", lam_before_norm)
        check_number("lam_mul_k", lam_mul_k)
        check_probability("value_dropout", value_dropout)
        check_choice("upsampling", upsampling, ("nearest", "bilinear"))
        if lam_concat and (lam_mul or qk_concat):
            raise ValueError("lam_concat excludes lam_mul and qk_concat: write lam_concat=False beside them")
        if lam_concat and value_layers > 1:
            raise ValueError("lam_concat takes value_layers=1: the norm between two layers would cancel a constant")
        if lam_mul_k >= 0 and not lam_mul:
            raise ValueError("lam_mul_k goes with lam_mul=True")
        if lam_before_norm and not (lam_mul and value_layers == 2):
            raise ValueError("lam_before_norm goes with lam_mul=True and value_layers=2")
        if value_layers > 2 or (value_dropout and value_layers < 2):
            raise ValueError(f"value_layers must be 1 or 2, and 2 with value_dropout; got {value_layers}")
        self.in_channels = in_channels
        self.lam_concat, self.lam_mul, self.lam_mul_k = lam_concat, lam_mul, lam_mul_k
        self.qk_concat, self.upsampling, self.lam_before_norm = qk_concat, upsampling, lam_before_norm
        channels = in_channels + lam_concat
        inner = max(in_channels // reduction, 1)
        both = 2 * channels if qk_concat else channels
        self.query = nn.Conv2d(both, inner, 1)
        self.key = nn.Conv2d(both, inner, 1) if qk_concat else None  # the query's, then
        self.value = nn.Conv2d(channels, 1, 1) if value_layers == 1 else _TwoLayers(channels, value_dropout)
        init_mix_block(self)

    def forward(self, features: Tensor, sources: Tensor, lam: Tensor, size: tuple[int, int]) -> Tensor:
        """Return each source's share per pixel: float32 (B, 2, H, W), the own one first, summing to 1.

        Args:
            features: floating (B, C, h, w), of the clean batch; of float64, shares are too.
            sources: int64 (B, 2), each image itself and its partner.
            lam: float32 (1, 2) or (B, 2), lambda and 1 - lambda.
            size: (H, W) of the images.

        Raises:
            ValueError: tensors of other shapes.
        """
        check_mix(features, sources, lam)
        if sources.shape[1] != 2:
            raise ValueError(f"PixelMixBlock mixes 2 images, got {sources.shape[1]}; AdaptiveMask takes any number")
        partner = features[sources[:, 1]]
        own, other = self._told(features, lam, 0), self._told(partner, lam, 1)
        if self.lam_mul and isinstance(self.value, _TwoLayers) and not self.lam_before_norm:
            value = self.value(partner, self._factor(partner, lam, 1))
        else:
            value = self.value(other)
        if self.qk_concat:
            own = other = torch.cat([own, other], dim=1)
        query, key = self.query(own).flatten(2), (self.key or self.query)(other).flatten(2)
        with full_precision(features):
            scaled = in_float32(query).transpose(1, 2) / math.sqrt(query.shape[1])
            gathered = (scaled @ in_float32(key)).softmax(-1) @ in_float32(value).flatten(2).transpose(1, 2)
            gathered = gathered.transpose(1, 2).unflatten(2, features.shape[2:])
            share = F.interpolate(gathered, size, mode=self.upsampling).sigmoid()
        return torch.cat([1 - share, share], dim=1)

    def _told(self, features: Tensor, lam: Tensor, of: int) -> Tensor:
        """Return features with what they are told of their own share of lambda, which is number ``of``."""
        if self.lam_concat:
            share = lam.to(features.dtype)[:, of, None, None, None]
            return torch.cat([features, share.expand(len(features), 1, *features.shape[2:])], dim=1)
        return features * self._factor(features, lam, of) if self.lam_mul else features

    def _factor(self, features: Tensor, lam: Tensor, of: int) -> Tensor:
        return 1 + rescale_lam(lam[:, of, None, None, None], self.lam_mul_k).to(features.dtype)


class _TwoLayers(nn.Module):
    """Two 1x1 convolutions without biases, BatchNorm and ELU between them, dropout behind."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        hidden = max(channels // 2, 1)
        self.first, self.norm = nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden)
        self.last, self.dropout = nn.Conv2d(hidden, 1, 1, bias=False), nn.Dropout(dropout)

    def forward(self, features: Tensor, factor: float | Tensor = 1.0) -> Tensor:
        """Return a value for each place, (B, 1, h, w); ``factor`` scales what the norm makes of the first layer."""
        return self.dropout(self.last(F.elu(factor * self.norm(self.first(features)))))


def check_mix(features: Tensor, sources: Tensor, lam: Tensor) -> None:
    """Raise ValueError unless these are features (B, C, h, w), sources (B, K) and lambdas (1, K) or (B, K)."""
    if features.ndim != 4:
        raise ValueError(f"features must be (B, C, h, w), got {tuple(features.shape)}")
    n = len(features)
    if sources.ndim != 2 or len(sources) != n or sources.shape[1] < 2 or sources.dtype != torch.int64:
        got = f"{sources.dtype} {tuple(sources.shape)}"
        raise ValueError(f"sources must be int64 ({n}, K) with K of at least 2, got {got}")
    if lam.shape not in ((1, sources.shape[1]), tuple(sources.shape)):
        raise ValueError(f"lam must be (1, {sources.shape[1]}) or ({n}, {sources.shape[1]}), got {tuple(lam.shape)}")


def init_mix_block(block: nn.Module) -> None:
    """Draw all convolutions from N(0, 0.01), their biases 0, as the authors of AutoMix do."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def full_precision(like: Tensor) -> Any:
    """Return a context without autocast on a tensor's device: attention in half precision overflows."""
    return torch.autocast(like.device.type if like.device.type != "meta" else "cpu", enabled=False)
