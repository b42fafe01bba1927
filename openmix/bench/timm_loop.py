"""A training step as timm's ``train.py`` (1.0) does it, of the parts that the timm package has for it.

What it does around forward, backward and update, in this order: timers, ``Mixup`` on a batch of float images with dense
soft labels, ``SoftTargetCrossEntropy``, gradients set to None, the loss fetched from the device at every step for a
running mean, a line at every 50th, and the scheduler's ``step_update``. In bfloat16 it scales no loss, as here. Its
batches come from where the bare loop's come from, and its optimizer is fused, where ``train.py`` has neither.
"""

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["TimmLoop"]

LOG_INTERVAL = 50  # train.py's default


class TimmLoop:
    """One training step a call.

    Args:
        net: images -> logits, in training mode.
        batches: what returns the next images, normalised floats, and labels.
        optimizer: over its parameters.
        mixup: timm's ``Mixup``; None mixes nothing.
        bf16: compute in bfloat16 what autocast does.
    """

    def __init__(
        self,
        net: nn.Module,
        batches: Callable[[], tuple[Tensor, Tensor]],
        optimizer: Optimizer,
        mixup: Mixup | None = None,
        bf16: bool = False,
    ) -> None:
        self.net, self.batches, self.optimizer, self.mixup, self.bf16 = net, batches, optimizer, mixup, bf16
        self.loss_fn = nn.CrossEntropyLoss() if mixup is None else SoftTargetCrossEntropy()
        self.scheduler = CosineLRScheduler(optimizer, t_initial=300)  # by epochs, as train.py's default
        self.update_time, self.data_time, self.losses = AverageMeter(), AverageMeter(), AverageMeter()
        self.updates = 0
        self.logger = logging.Logger("timm_loop")  # lines are made, and go nowhere
        self.logger.addHandler(logging.NullHandler())
        self._data_start = self._update_start = time.time()

    def __call__(self) -> float:
        """Do a step and return the loss."""
        images, labels = self.batches()
        if self.mixup is not None:
            images, labels = self.mixup(images, labels)
        self.data_time.update(time.time() - self._data_start)
        with torch.autocast(images.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            loss = self.loss_fn(self.net(images), labels)
        loss.backward()
        self.optimizer.step()
        self.losses.update(loss.item(), len(images))
        self.updates += 1
        self.optimizer.zero_grad()
        now = time.time()
        self.update_time.update(now - self._update_start)
        self._update_start = now
        if (self.updates - 1) % LOG_INTERVAL == 0:
            self._log(len(images))
        self.scheduler.step_update(num_updates=self.updates, metric=self.losses.avg)
        self._data_start = time.time()
        return self.losses.val

    def _log(self, images: int) -> None:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.logger.info(
            f"Train: {self.updates}  Loss: {self.losses.val:#.3g} ({self.losses.avg:#.3g})  "
            f"Time: {self.update_time.val:.3f}s, {images / max(self.update_time.val, 1e-9):>7.2f}/s  "
            f"LR: {sum(rates) / len(rates):.3e}  Data: {self.data_time.val:.3f} ({self.data_time.avg:.3f})"
        )
