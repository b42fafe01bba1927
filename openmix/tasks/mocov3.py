"""MoCo v3 (Chen et al., ICCV 2021, arXiv:2104.02057): no queue, keys of the same batch, a predictor."""

from torch import Tensor, nn

from openmix.models.contrastive import in_batch, unit
from openmix.models.gather import gather
from openmix.models.heads import ClsHead
from openmix.ops.checks import check_positive
from openmix.tasks.context import StepContext
from openmix.tasks.contrastive import MomentumContrast, check_predictor, pair_of
from openmix.tasks.learned import Momentum
from openmix.tasks.selfsup import Learnt

__all__ = ["MoCoV3"]


class MoCoV3(MomentumContrast):
    """Either view's prediction chooses the other's key among those of the batch, of all processes.

    The loss is the sum of both directions' cross entropies times 2 * temperature, as in the authors' code. Negatives
    are of one micro-batch: processes add to them, accumulation does not.

    Args:
        backbone: images -> tuple of feature maps.
        probe: pooled features -> logits, and their loss; it learns beside, see :class:`SelfSupervised`.
        projector: pooled features -> what is compared; in a config ``dict(type='ProjectionMLP', channels=[4096, 256],
            norm='all')``.
        predictor: what the projector gives -> as many channels; ``channels=[4096, 256]`` with ``norm='hidden'``.
        neck: feature maps -> pooled features; default global average pooling.
        momentum: of the momentum encoder, in [0, 1]. Default 0.99, the authors'.
        momentum_end: what it becomes by a cosine over the run. Default 1.
        temperature: by which similarities are divided. Default 0.2, the authors' for ViT; 1 for ResNet-50.

    Raises:
        ValueError: a value out of range; the predictor gives other channels than the projector.
    """

    def __init__(
        self,
        backbone: nn.Module,
        probe: ClsHead,
        projector: nn.Module,
        predictor: nn.Module,
        neck: nn.Module | None = None,
        momentum: float = 0.99,
        momentum_end: float = 1.0,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(backbone, probe, projector, neck, Momentum(momentum, momentum_end, constant=0.0))
        check_positive("temperature", temperature)
        check_predictor(predictor, self.channels)
        self.predictor, self.temperature = predictor, temperature

    def learn(self, views: tuple[Tensor, ...], context: StepContext) -> Learnt:
        """Return the loss, and as ``top1_pair`` the per cent of predictions that are most like their own key."""
        one, two = pair_of(views, "MoCoV3")
        features = self.features(one)
        first, second = (unit(self.predictor(self.projector(pooled))) for pooled in (features, self.features(two)))
        key_of_one, key_of_two = (gather(unit(self.encode(view))) for view in (one, two))
        there = in_batch(first, *key_of_two, self.temperature)
        back = in_batch(second, *key_of_one, self.temperature)
        loss = 2 * self.temperature * (there.loss + back.loss)
        return Learnt(loss, features, {"top1_pair": (there.top1 + back.top1) / 2})
