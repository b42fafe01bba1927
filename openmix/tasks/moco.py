"""MoCo v2 (He et al., CVPR 2020, arXiv:1911.05722; Chen et al., arXiv:2003.04297), with asym-siam's options."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from openmix.models.contrastive import info_nce, unit
from openmix.models.feature_queue import FeatureQueue
from openmix.models.gather import Shuffle, gather, processes
from openmix.models.heads import ClsHead
from openmix.models.split_batchnorm import split_batchnorm
from openmix.ops.checks import check_flag, check_integer, check_positive
from openmix.ops.random import generator_for
from openmix.tasks.context import StepContext
from openmix.tasks.contrastive import MomentumContrast, pair_of
from openmix.tasks.learned import Momentum
from openmix.tasks.selfsup import Learnt

__all__ = ["MoCo"]


class MoCo(MomentumContrast):
    """Each query chooses its key among it and a queue of earlier keys, which a momentum encoder made.

    The first view is the query; the others are keys, and of several the average is taken before it is scaled to length
    1 (asym-siam's mean encoding). Any recipe with two sides that differ (Wang et al., CVPR 2022, arXiv:2204.00613) is
    one of views: ScaleMix, CropMix or stronger augmentation for the first one.

    A batch's statistics tell which images are in it, and a network could choose by that. So keys see other images
    together than queries do, if BatchNorm has parts of the batch to itself: each process's, or ``splits`` within one.

    A step's keys, of all processes and micro-batches, enter the queue together after it, in the order of shards; so
    two processes are one that accumulates two, where there is no BatchNorm.

    Args:
        backbone: images -> tuple of feature maps.
        probe: pooled features -> logits, and their loss; it learns beside, see :class:`SelfSupervised`.
        projector: pooled features -> what is compared; in a config ``dict(type='ProjectionMLP', channels=[2048, 128],
            norm='none')`` for MoCo v2.
        neck: feature maps -> pooled features; default global average pooling.
        queue_size: K, keys in the queue. Default 65536; the CIFAR demo's is 4096. Any batch size goes with it.
        momentum: of the momentum encoder, in [0, 1]. Default 0.999; the demo's is 0.99.
        momentum_end: what it becomes by a cosine over the run, at least ``momentum``; default: it stays.
        temperature: by which similarities are divided. Default 0.2, MoCo v2's; 0.1 in the demo, 0.07 in v1.
        symmetric: also let the second view choose the first one's key, as in the demo: the loss is the sum of both,
            and both keys enter the queue.
        splits: in how many parts BatchNorm sees a process's batch of queries, which they must divide, see
            :class:`~openmix.models.split_batchnorm.SplitBatchNorm`. Default 1; the demo's is 8.
        key_splits: the same of keys; default ``splits``. 0 is a single part of all processes' keys, asym-siam's
            AsymBN; 1 is the same on one process.
        shuffle: whether keys change places before the momentum encoder, over all processes, and change back after it.
            Where BatchNorm sees all of them together, or there is none, that would be for nothing, and is left out.

    Raises:
        ValueError: a value out of range.

    Attributes:
        batch_multiple: what a process's batch must be a multiple of, for ``splits`` and ``key_splits``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        probe: ClsHead,
        projector: nn.Module,
        neck: nn.Module | None = None,
        queue_size: int = 65536,
        momentum: float = 0.999,
        momentum_end: float | None = None,
        temperature: float = 0.2,
        symmetric: bool = False,
        splits: int = 1,
        key_splits: int | None = None,
        shuffle: bool = True,
    ) -> None:
        schedule = Momentum(momentum, momentum if momentum_end is None else momentum_end, constant=0.0)
        super().__init__(backbone, probe, projector, neck, schedule)
        check_positive("temperature", temperature)
        check_flag("symmetric", symmetric)
        check_flag("shuffle", shuffle)
        self.splits, self.key_splits = splits, splits if key_splits is None else key_splits
        check_integer("splits", splits, 1)
        check_integer("key_splits", self.key_splits, 0)
        self.batch_multiple = math.lcm(splits, max(self.key_splits, 1))
        split_batchnorm(self._student[0], splits)
        split_batchnorm(self.teacher, max(self.key_splits, 1))
        self.temperature, self.symmetric, self.shuffle = temperature, symmetric, shuffle
        self.queue = FeatureQueue(queue_size, self.channels)
        self._keys: list[Tensor] = []  # of this step's micro-batches
        # all processes have the same queue: it need not be sent to them at every forward pass
        self._ddp_params_and_buffers_to_ignore = [f"queue.{name}" for name, _ in self.queue.named_buffers()]

    def learn(self, views: tuple[Tensor, ...], context: StepContext) -> Learnt:
        """Return InfoNCE, and as ``top1_pair`` the per cent of queries that are most like their own key."""
        if self.symmetric:
            pair_of(views, "MoCo with symmetric=True")
        features = self.features(views[0])
        queries, keys = [unit(self.projector(features))], [self.keys(views, 1, len(views), context)]
        if self.symmetric:
            queries.append(unit(self.projector(self.features(views[1]))))
            keys.append(self.keys(views, 0, 1, context))
        contrasts = [
            info_nce(query, key, self.queue.features, self.temperature)
            for query, key in zip(queries, keys, strict=True)
        ]
        if self.training:
            self._keys.append(torch.cat(keys))
        loss, top1 = (torch.stack(values) for values in zip(*contrasts, strict=True))
        return Learnt(loss.sum(), features, {"top1_pair": top1.mean()})

    def keys(self, views: tuple[Tensor, ...], start: int, stop: int, context: StepContext) -> Tensor:
        """Return the mean of the keys of some of the views, scaled to length 1: (B, C)."""
        encoded = [self._encode_shuffled(views[i], i, context) for i in range(start, stop)]
        return unit(torch.stack(encoded).mean(0))

    def after_step(self, context: StepContext) -> None:
        """Let the momentum encoder follow the network, and the step's keys enter the queue."""
        super().after_step(context)
        keys, self._keys = self._keys, []
        if keys:
            self.queue.push(torch.cat([gather(of_one).rows for of_one in keys]))

    def _encode_shuffled(self, images: Tensor, view: int, context: StepContext) -> Tensor:
        _, size = processes()
        if not (self.shuffle and self._has_parts(size)):
            return self.encode(images)
        # one draw for all processes: it is keyed by which of a process's micro-batches this is
        generator = generator_for(context.seed, f"shuffle {view}", context.step, context.shard // size)
        shuffle = Shuffle(len(images), generator, images.device)
        return shuffle.returned(self.encode(shuffle.dealt(images)))

    def _has_parts(self, processes: int) -> bool:
        """Tell whether the momentum encoder's BatchNorm sees some of the keys without the others."""
        several = self.key_splits > 1 or (self.key_splits == 1 and processes > 1)
        return several and any(isinstance(module, _BatchNorm) for module in self.teacher.modules())
