"""What mixing yields: the images, and which labels they carry in which shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from openmix.ops.plans import Plan

__all__ = ["MixTarget", "Mixed", "check_labels"]


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Raise ValueError unless labels lie in [0, num_classes); only on a CPU, as nothing may wait for other devices."""
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if ((labels < 0) | (labels >= num_classes)).any():
        low, high = int(labels.min()), int(labels.max())
        raise ValueError(f"labels must be in [0, {num_classes}), the number of classes, got {low} to {high}")


class MixTarget(NamedTuple):
    """A sparse soft label: row b is ``sum_k weights[b, k] * onehot(labels[b, k])``.

    Two orders of magnitude smaller than the dense form on ImageNet, and exact for any number of sources.

    Attributes:
        labels: int64 (B, K).
        weights: float32 (B, K), >= 0; a row sums to 1 unless the method says otherwise.
    """

    labels: Tensor
    weights: Tensor

    def soft(self, num_classes: int) -> Tensor:
        """Return the dense soft labels, float32 (B, num_classes).

        Raises:
            ValueError: on a CPU, labels that are no class; another device is not asked.

        >>> import torch
        >>> MixTarget(torch.tensor([[0, 2]]), torch.tensor([[0.25, 0.75]])).soft(3)
        tensor([[0.2500, 0.0000, 0.7500]])
        """
        check_labels(self.labels, num_classes)
        dense = self.weights.new_zeros(len(self.labels), num_classes)
        return dense.scatter_add_(1, self.labels, self.weights)

    def dominant(self) -> Tensor:
        """Return each row's label of the largest weight, the first where two are equal: int64 (B,)."""
        return self.labels.gather(1, self.weights.argmax(1, keepdim=True)).squeeze(1)


@dataclass(frozen=True)
class Mixed:
    """A mixed batch.

    Attributes:
        images: (B, C, H, W), of the dtype and memory format of the input.
        target: its labels and their weights.
        plan: what was drawn; :meth:`apply` repeats it on another tensor.
    """

    images: Tensor
    target: MixTarget
    plan: Plan

    @property
    def sources(self) -> Tensor:
        """Which images of the batch each image is made of: int64 (B, K), itself first."""
        return self.plan.sources

    @property
    def masks(self) -> Tensor | None:
        """Each source's share per pixel: float32 (B, K, h, w), h = w = 1 where it is constant; None if undefined."""
        return self.plan.masks

    @property
    def partner(self) -> Tensor:
        """The other image of each pair: int64 (B,)."""
        return self.sources[:, 1]

    @property
    def mask(self) -> Tensor | None:
        """The own share per pixel: float32 (B, 1, h, w), 1 where own pixels are kept."""
        masks = self.masks
        return None if masks is None else masks[:, :1]

    def apply(self, other: Tensor, interpolation: str = "nearest") -> Tensor:
        """Mix another tensor of the same batch in the same way, moved content included.

        Args:
            other: (B, C', H, W), for example segmentation maps or depth. Integers are taken where the method copies
                pixels and refused where it blends them.
            interpolation: 'nearest' or 'bilinear', for methods that resize content; the others have no use for it.

        Raises:
            ValueError: another batch size or image size than the mixed images'.
            TypeError: integers where the method blends.
        """
        return self.plan.apply(other, interpolation)
