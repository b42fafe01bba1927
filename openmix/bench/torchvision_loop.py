"""A training step as torchvision's reference for classification does it (``references/classification/train.py``).

It is a script, not a package, so what it does at each step is written anew here: ``v2.MixUp`` in the collate function,
``CrossEntropyLoss`` on dense soft labels, then top-1 and top-5 and the loss, each fetched from the device at every step
for meters that keep the last 20 values, and a line of their medians at every 10th. Its batches come from where
the bare loop's come from, and its optimizer is fused, where the reference has neither.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.transforms import v2

__all__ = ["TorchvisionLoop", "accuracy"]

PRINT_FREQ = 10  # the reference's default


class Meter:
    """The reference's ``SmoothedValue``: a window's median, and the mean of all.

    Args:
        window: how many values it has.
    """

    def __init__(self, window: int = 20) -> None:
        self.window: deque[float] = deque(maxlen=window)
        self.total, self.count = 0.0, 0

    def update(self, value: float, n: int = 1) -> None:
        """Take in a value that stands for ``n``."""
        self.window.append(value)
        self.count += n
        self.total += value * n

    def __str__(self) -> str:
        """Return median and mean, by tensors, as there."""
        return f"{torch.tensor(list(self.window)).median().item():.4f} ({self.total / self.count:.4f})"


class TorchvisionLoop:
    """One training step a call.

    Args:
        net: images -> logits, in training mode.
        batches: what returns the next images, normalised floats, and labels.
        optimizer: over its parameters.
        mixup: torchvision's ``v2.MixUp``; None mixes nothing.
        bf16: compute in bfloat16 what autocast does. The reference has float16 with a loss scale.
    """

    def __init__(
        self,
        net: nn.Module,
        batches: Callable[[], tuple[Tensor, Tensor]],
        optimizer: Optimizer,
        mixup: v2.MixUp | None = None,
        bf16: bool = False,
    ) -> None:
        self.net, self.batches, self.optimizer, self.mixup, self.bf16 = net, batches, optimizer, mixup, bf16
        self.criterion = nn.CrossEntropyLoss()
        names = ("loss", "lr", "acc1", "acc5", "img/s", "time", "data")
        self.meters = {name: Meter({"lr": 1, "img/s": 10}.get(name, 20)) for name in names}
        self.steps, self.line = 0, ""
        self._end = time.time()

    def __call__(self) -> float:
        """Do a step and return the loss."""
        images, labels = self.batches()
        if self.mixup is not None:
            images, labels = self.mixup(images, labels)
        self.meters["data"].update(time.time() - self._end)
        start = time.time()
        with torch.autocast(images.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            output = self.net(images)
            loss = self.criterion(output, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        top1, top5 = accuracy(output, labels, (1, 5))
        value = loss.item()
        self.meters["loss"].update(value)
        self.meters["lr"].update(self.optimizer.param_groups[0]["lr"])
        self.meters["acc1"].update(top1.item(), len(images))
        self.meters["acc5"].update(top5.item(), len(images))
        self.meters["img/s"].update(len(images) / (time.time() - start))
        self.meters["time"].update(time.time() - self._end)
        if self.steps % PRINT_FREQ == 0:
            self.line = "  ".join(f"{name}: {meter}" for name, meter in self.meters.items())
        self.steps += 1
        self._end = time.time()
        return value


@torch.inference_mode()
def accuracy(output: Tensor, target: Tensor, topk: tuple[int, ...]) -> list[Tensor]:
    """Return the per cent of images whose label is among the k likeliest, for each k, as the reference computes it.

    Args:
        output: logits (B, C).
        target: labels (B,), or soft ones (B, C), of which the largest counts.
        topk: each k, the largest last.

    >>> accuracy(torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]]), torch.tensor([2, 0]), (1, 2))
    [tensor(50.), tensor(100.)]
    """
    if target.ndim == 2:
        target = target.max(dim=1)[1]
    _, predicted = output.topk(max(topk), 1, True, True)
    correct = predicted.t().eq(target[None])
    return [correct[:k].flatten().sum(dtype=torch.float32) * (100.0 / len(target)) for k in topk]
