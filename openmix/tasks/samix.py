"""SAMix (Li et al., arXiv:2111.15454): AutoMix whose mix block sees both images, with sharper masks and its own loss.

Differs from the authors' code, OpenMixup's: their loss for the mix block weighs the classes that are not mixed by eta
in a soft cross entropy, where they count nothing to begin with, so that their published numbers rest on plain cross
entropy; and lambda scales features in front of a BatchNorm, which cancels it in the mix block's values. Here it is the
paper's objective, and lambda enters behind the norm; preset 'openmixup' is theirs.
"""

from torch import Tensor, nn

from openmix.models.heads import ClsHead
from openmix.models.mix_block import PixelMixBlock
from openmix.ops.balanced import balanced_mix_cross_entropy
from openmix.ops.checks import check_not_negative
from openmix.ops.target import Mixed
from openmix.tasks.automix import AutoMixClassification

__all__ = ["SAMixClassification"]


class SAMixClassification(AutoMixClassification):
    """:class:`~openmix.tasks.automix.AutoMixClassification` with SAMix's mix block, mask loss and eta-balanced loss.

    Args:
        backbone: as this and the next four are of ``AutoMixClassification``.
        head: pooled features -> logits of mixed images, and their loss on a ``MixTarget``.
        mix_block: default ``PixelMixBlock(channels, lam_concat=False, lam_mul=True, lam_mul_k=0.25, qk_concat=True,
            value_layers=2, upsampling='bilinear')``, the authors' for CIFAR.
        neck: feature maps -> pooled features; default global average pooling.
        head_one: the classifier of clean images; default one of its own that begins as ``head`` does.
        head_one_mix: as this and the next nine are of ``AutoMixClassification``.
        alpha: default 2.0.
        mask_layer: default -2.
        lam_margin: default 0.08.
        mask_adjust: default 0.
        mask_loss: default 0.1.
        mask_loss_end: default None.
        mask_margin: default 0.1.
        mask_variance: default 2.0, SAMix's.
        k_prob: default 1.
        eta: of the mix block's loss, see :func:`~openmix.ops.balanced.balanced_mix_cross_entropy`, >= 0. Default 0.5,
            the authors'.
        momentum: as this and the next two are of ``AutoMixClassification``.
        momentum_end: default 0.999999.
        momentum_start: default 0.1.
        preset: 'openmixup' is the authors' code where it differs from the papers: AutoMix's preset, plain cross entropy
            for the mix block, whatever eta is, and ``lam_before_norm=True`` of the usual mix block. Default None.

    Raises:
        ValueError: a value out of range, or a map that the mix block cannot use.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: ClsHead,
        mix_block: nn.Module | None = None,
        neck: nn.Module | None = None,
        head_one: ClsHead | None = None,
        head_one_mix: bool = False,
        alpha: float = 2.0,
        mask_layer: int = -2,
        lam_margin: float = 0.08,
        mask_adjust: float = 0.0,
        mask_loss: float = 0.1,
        mask_loss_end: float | None = None,
        mask_margin: float = 0.1,
        mask_variance: float = 2.0,
        k_prob: float = 1.0,
        eta: float = 0.5,
        momentum: float = 0.999,
        momentum_end: float = 0.999999,
        momentum_start: float = 0.1,
        preset: str | None = None,
    ) -> None:
        check_not_negative("eta", eta)
        super().__init__(
            backbone, head, mix_block, neck, head_one, head_one_mix, alpha, mask_layer, lam_margin, mask_adjust,
            mask_loss, mask_loss_end, mask_margin, mask_variance, k_prob, momentum, momentum_end, momentum_start,
            preset,
        )  # fmt: skip
        self.eta = eta

    @staticmethod
    def usual_mix_block(channels: int, preset: str | None) -> nn.Module:
        """Return SAMix's mix block for features of so many channels."""
        return PixelMixBlock(
            channels,
            lam_concat=False,
            lam_mul=True,
            lam_mul_k=0.25,
            qk_concat=True,
            value_layers=2,
            lam_before_norm=preset == "openmixup",
            upsampling="bilinear",
        )

    def verdict(self, mixed: Mixed) -> Tensor:
        """Return the eta-balanced loss of the momentum encoder's logits on images that the mix block has mixed."""
        if self.preset == "openmixup":
            return super().verdict(mixed)
        return balanced_mix_cross_entropy(self.judge(mixed.images), mixed.target, self.eta)
