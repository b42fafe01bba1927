"""What guided methods may ask of a network made of backbone, neck and head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from openmix.models.necks import GlobalAveragePooling
from openmix.ops.attention import AttentionTap
from openmix.ops.guidance import class_activation, input_gradient

__all__ = ["NEEDS", "NetworkMaps"]


class NetworkMaps:
    """Computes what methods need on a network, in whatever mode it is.

    ============  =================================================================================================
    saliency      (B, H, W), the gradient of the cross entropy by the image; needs a head
    logits        (B, num_classes); needs a head
    features      (B, C, h, w), the backbone's last map; needs one of more than one place
    cam           (B, h, w), the class activation map of the own label; needs features, averaged, and a linear head
    attention     (B, h, w), of the class token to the patches in the last block; needs a vision transformer
    rollout       (B, h, w), each patch's share in the class token after all blocks; likewise
    ============  =================================================================================================

    Args:
        backbone: images -> tuple of feature maps.
        neck: feature maps -> pooled features; None where there is no head.
        head: pooled features -> logits; None where the network only yields maps.
    """

    def __init__(self, backbone: nn.Module, neck: nn.Module | None = None, head: nn.Module | None = None) -> None:
        self.backbone, self.neck, self.head = backbone, neck, head
        self._tap: AttentionTap | None = None

    @property
    def modules(self) -> list[nn.Module]:
        """Backbone, neck and head, as far as there are."""
        return [m for m in (self.backbone, self.neck, self.head) if m is not None]

    def require(self, needs: Sequence[str]) -> None:
        """Get ready to serve ``needs``, before the network is compiled or wrapped.

        Raises:
            ValueError: this network cannot serve one of them; the message says why.
        """
        name = type(self.backbone).__name__
        for need in needs:
            if need in ("attention", "rollout"):
                self._tap = self._tap or AttentionTap(self.backbone)
            elif need in ("features", "cam") and getattr(self.backbone, "last_map_is_pooled", False):
                raise ValueError(f"{need}: the last map of this {name} has one place, and shows nothing of space")
            if need in ("saliency", "logits", "cam") and self.head is None:
                raise ValueError(f"{need}: it takes a network with a head, and this one has none")
            if need == "cam" and not (isinstance(self.neck, GlobalAveragePooling) and hasattr(self.head, "fc")):
                raise ValueError("cam: it takes a global average and a linear classifier behind the last map")
            if need not in _PROVIDERS:
                raise ValueError(f"{need}: nothing computes that; known: {', '.join(_PROVIDERS)}")

    def predict(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        assert self.neck is not None and self.head is not None  # require saw to it
        return self.head(self.neck(self.backbone(images)))

    def provide(self, need: str, images: Tensor, labels: Tensor) -> Tensor:
        """Compute one of the needs that :meth:`require` was told of, for images (B, C, H, W) and labels (B,)."""
        return _PROVIDERS[need](self, images, labels)

    def recording(self, needs: Sequence[str]) -> AbstractContextManager[None]:
        """Let :meth:`seen` tell, after a forward pass within, what the network attended to in it, if needs ask that."""
        if self._tap is None or not {"attention", "rollout"} & set(needs):
            return nullcontext()
        return self._tap.recording()

    def seen(self, need: str) -> Tensor:
        """Return ``attention`` or ``rollout`` of the forward pass that was recorded last; it is read once."""
        assert self._tap is not None  # require saw to it
        return self._tap.attention() if need == "attention" else self._tap.rollout()

    def _saliency(self, images: Tensor, labels: Tensor) -> Tensor:
        return input_gradient(self.predict, images, labels)

    @torch.no_grad()
    def _logits(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.predict(images)

    @torch.no_grad()
    def _features(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.backbone(images)[-1]

    def _cam(self, images: Tensor, labels: Tensor) -> Tensor:
        assert self.head is not None  # require saw to it
        return class_activation(self._features(images, labels), self.head.fc.weight, labels)

    @torch.no_grad()
    def _attended(self, need: str, images: Tensor) -> Tensor:
        with self.recording([need]):
            self.backbone(images)
        return self.seen(need)


_PROVIDERS: dict[str, Callable[[NetworkMaps, Tensor, Tensor], Tensor]] = {
    "saliency": NetworkMaps._saliency,
    "logits": NetworkMaps._logits,
    "features": NetworkMaps._features,
    "cam": NetworkMaps._cam,
    "attention": lambda maps, images, labels: maps._attended("attention", images),
    "rollout": lambda maps, images, labels: maps._attended("rollout", images),
}

NEEDS = tuple(_PROVIDERS)
