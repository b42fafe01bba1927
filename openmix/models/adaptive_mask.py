"""The mask network of AdAutoMix: from the features of K images to the masks that mix them.

Qin et al., "Adversarial AutoMixup", ICLR 2024, arXiv:2312.11954.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.models.mix_block import check_mix, full_precision, init_mix_block
from openmix.ops.checks import check_choice, check_flag, check_integer
from openmix.ops.losses import in_float32

__all__ = ["AdaptiveMask"]


class AdaptiveMask(nn.Module):
    """Attention from each place of an image to those of the others it is mixed with, gathering the image's own values.

    With f_1 ... f_K the features of the images of a mix and d the inner channels::

        q_i, k_i, v_i = relu(query(f_i)), relu(key(f_i)), value(f_i)
        A_i = softmax(sum over j != i of q_i^T k_j / sqrt(d))     places of image i, over the places of the others
        shares = softmax over i of upsample(A_i v_i)

    The three networks are 1x1 convolutions that all images share. As they do not know who is mixed with whom, they see
    each image of the batch once, where the authors' code computes them for each of the K sources; and the scores of
    image i are one product, of q_i and the sum of the other keys, in place of K - 1.

    The rectifiers are in no formula of the paper: the authors build ``query`` and ``key`` of a module that has one
    unless it is told otherwise. The bias of ``value`` cancels in the softmax over i, and is there for their sake too.
    The authors' code upsamples by a fixed factor, here the masks have the images' size whatever that is.

    Args:
        in_channels: C, of the features.
        reduction: d is C divided by this, at least 1. Default 2, the authors'.
        lam_concat: lambda_i is a further, constant channel of f_i. Default False, as in the authors' configurations;
            masks then do not depend on lambda.
        upsampling: 'bilinear' (default, the authors' for convolutional networks) or 'nearest' (for transformers).

    Raises:
        ValueError: an argument out of range.

    >>> network = AdaptiveMask(8)
    >>> features, sources = torch.rand(2, 8, 4, 4), torch.tensor([[0, 1, 1], [1, 0, 1]])
    >>> network(features, sources, torch.tensor([[0.2, 0.3, 0.5]]), size=(16, 16)).shape
    torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        lam_concat: bool = False,
        upsampling: Literal["nearest", "bilinear"] = "bilinear",
    ) -> None:
        super().__init__()
        check_integer("in_channels", in_channels, 1)
        check_integer("reduction", reduction, 1)
        check_flag("lam_concat", lam_concat)
        check_choice("upsampling", upsampling, ("nearest", "bilinear"))
        self.in_channels, self.lam_concat, self.upsampling = in_channels, lam_concat, upsampling
        inner = max(in_channels // reduction, 1)
        self.query, self.key, self.value = (nn.Conv2d(in_channels + lam_concat, n, 1) for n in (inner, inner, 1))
        init_mix_block(self)

    def forward(self, features: Tensor, sources: Tensor, lam: Tensor, size: tuple[int, int]) -> Tensor:
        """Return each source's share per pixel: float32 (B, K, H, W), the own one first, summing to 1.

        Args:
            features: floating (B, C, h, w), of the clean batch; of float64, shares are too.
            sources: int64 (B, K), the images of each mix, itself first; K >= 2.
            lam: float32 (1, K) or (B, K), the share of each label.
            size: (H, W) of the images.

        Raises:
            ValueError: tensors of other shapes.
        """
        check_mix(features, sources, lam)
        query, key, value = (self._of_sources(c, features, sources, lam) for c in (self.query, self.key, self.value))
        with full_precision(features):
            query, key = in_float32(query).relu(), in_float32(key).relu()
            others = key.sum(1, keepdim=True) - key
            scores = query.transpose(2, 3) @ others / math.sqrt(query.shape[2])  # (B, K, places, places)
            gathered = scores.softmax(-1) @ in_float32(value).transpose(2, 3)
            maps = gathered.squeeze(3).unflatten(2, features.shape[2:])
            return F.interpolate(maps, size, mode=self.upsampling).softmax(1)

    def _of_sources(self, convolution: nn.Conv2d, features: Tensor, sources: Tensor, lam: Tensor) -> Tensor:
        """Return what a convolution makes of each source's features and lambda: (B, K, channels, h * w)."""
        weight, of_lam = convolution.weight.split([self.in_channels, self.lam_concat], dim=1)
        projected = F.conv2d(features, weight, convolution.bias).flatten(2)
        taken = torch.stack([projected.index_select(0, index) for index in sources.unbind(1)], dim=1)
        return taken + lam[:, :, None, None] * of_lam[:, :, 0, 0] if self.lam_concat else taken
