"""SimSiam (Chen and He, CVPR 2021, arXiv:2011.10566): no negatives, no momentum encoder, a stop-gradient."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from openmix.models.contrastive import unit
from openmix.models.heads import ClsHead
from openmix.ops.checks import check_flag
from openmix.tasks.context import StepContext
from openmix.tasks.contrastive import Contrastive, check_predictor, pair_of
from openmix.tasks.selfsup import Learnt

__all__ = ["SimSiam"]


class SimSiam(Contrastive):
    """A predictor makes of one view's projection the other's, which takes no gradient; the loss is minus their cosine.

    The predictor's parameters are a group of their own, ``predictor``: with ``group='encoder'`` a schedule leaves its
    learning rate constant, as the authors have it.

    Args:
        backbone: images -> tuple of feature maps.
        probe: pooled features -> logits, and their loss; it learns beside, see :class:`SelfSupervised`.
        projector: pooled features -> what is compared; in a config ``dict(type='ProjectionMLP', channels=[2048, 2048,
            2048], norm='all')``, on CIFAR two layers.
        predictor: what the projector gives -> as many channels; ``channels=[512, 2048]``.
        neck: feature maps -> pooled features; default global average pooling.
        symmetric: predict either view from the other and average (default). Otherwise the first view predicts the
            second one, whose pass needs no gradient: for views that differ in kind, such as CropMix for the first.

    Raises:
        ValueError: the predictor gives other channels than the projector.
    """

    def __init__(
        self,
        backbone: nn.Module,
        probe: ClsHead,
        projector: nn.Module,
        predictor: nn.Module,
        neck: nn.Module | None = None,
        symmetric: bool = True,
    ) -> None:
        super().__init__(backbone, probe, projector, neck)
        check_predictor(predictor, self.channels)
        check_flag("symmetric", symmetric)
        self.predictor, self.symmetric = predictor, symmetric

    def learn(self, views: tuple[Tensor, ...], context: StepContext) -> Learnt:
        """Return the loss, in [-1, 1], and ``spread``: near 1 where projections differ, 0 where they have collapsed."""
        one, two = pair_of(views, "SimSiam")
        # what takes gradients comes first: torch before 2.10 would keep, and not train, the weights that autocast casts
        # where it finds none wanted
        features = self.features(one)
        first = self.projector(features)
        predicted = self.predictor(first)
        with torch.set_grad_enabled(self.symmetric and torch.is_grad_enabled()):
            second = self.projector(self.features(two))
        loss = _distance(predicted, second)
        if self.symmetric:
            loss = (loss + _distance(self.predictor(second), first)) / 2
        return Learnt(loss, features, {"spread": _spread(first)})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups ``encoder``, ``predictor`` and ``probe``."""
        encoder, probe = super().parameter_groups()
        predictor = [p for p in self.predictor.parameters() if p.requires_grad]
        own = {id(p) for p in predictor}
        encoder["params"] = [p for p in encoder["params"] if id(p) not in own]
        return [encoder, {"name": "predictor", "params": predictor}, probe]


def _distance(predicted: Tensor, target: Tensor) -> Tensor:
    return -(unit(predicted) * unit(target.detach())).sum(1).mean()


@torch.no_grad()
def _spread(projected: Tensor) -> Tensor:
    """Return the standard deviation of a channel over the batch, of unit vectors, times the root of how many there are.

    It is 1 where directions are independent and uniform.
    """
    return unit(projected).std(0, correction=0).mean() * math.sqrt(projected.shape[1])
