"""One training recipe for both sides: a real run of openmix, and the steps that are to compute the same beside it."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn
from torchvision.transforms import v2

from openmix.bench.bare import BareLoop, Batches, hand_written, mixup_draws
from openmix.data.loaders import ResidentLoader
from openmix.data.sources import ArraySource
from openmix.engine.distributed import World
from openmix.engine.log import Reporter, open_logger
from openmix.engine.trainer import Trainer
from openmix.models import ClsMixupHead
from openmix.tasks import Classification, MixUpClassification

__all__ = ["NO_CHECKPOINT", "SGD", "Recipe"]

SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "fused": True}
NEVER = 10**9
COSINE = {"type": "CosineAnnealingLR", "T_max": 200, "eta_min": 0.0, "by_epoch": True}  # as configs/ have it
NO_CHECKPOINT = {"interval": NEVER, "by_epoch": False, "save_best": None}  # but at the end


@dataclass(frozen=True)
class Recipe:
    """What is trained, how.

    Attributes:
        backbone: makes the network without its classifier; what it draws comes from torch's global generator.
        source: the images.
        batch_size: images a step.
        device: where.
        mean: of images in [0, 1], one value a channel or one.
        std: likewise.
        padding: of random crops; 0 crops nothing.
        flip: mirror half of the images.
        alpha: MixUp's; None mixes nothing.
        bf16: compute in bfloat16 what autocast does.
        channels_last: the memory format of images and weights.
        compile: compile the network, in torch's default mode or in the one named.
    """

    backbone: Callable[[], nn.Module]
    source: ArraySource
    batch_size: int
    device: torch.device
    mean: Sequence[float] = (0.5,)
    std: Sequence[float] = (0.25,)
    padding: int = 0
    flip: bool = False
    alpha: float | None = None
    bf16: bool = False
    channels_last: bool = False
    compile: bool | str = False

    def task(self) -> Classification:
        """Return openmix's task, with the same weights each time."""
        torch.manual_seed(0)
        backbone = self.backbone()
        head = ClsMixupHead(self.source.num_classes, backbone.out_channels[-1])  # type: ignore[index]
        if self.alpha is None:
            task = Classification(backbone, head)
        else:
            task = MixUpClassification(backbone, head, alpha=self.alpha, mix_mode="mixup")
        return task.to(self.device, memory_format=torch.channels_last if self.channels_last else None)

    def loader(self) -> ResidentLoader:
        """Return openmix's loader of the set."""
        size = self.source.image_shape[1]
        pipeline = [v2.RandomCrop(size, padding=self.padding)] if self.padding else []
        pipeline += [v2.RandomHorizontalFlip()] if self.flip else []
        return ResidentLoader(self.source, self.batch_size, pipeline=pipeline, device=self.device)

    def train(self, hooks: Sequence[Hook], steps: int, **changes: Any) -> Trainer:
        """Train by openmix, in a work dir that is thrown away, and return the trainer.

        Args:
            hooks: mmengine's, see :class:`~openmix.bench.beside.Beside`.
            steps: how many.
            changes: sections of the config in the place of those here, which keep no record and save at the end.
        """
        cfg: dict[str, Any] = {
            "optim_wrapper": {"optimizer": {"type": "SGD", **SGD}, "amp": "bf16" if self.bf16 else None},
            "train_cfg": {"max_iters": steps, "compile": self.compile, "channels_last": self.channels_last},
            "param_scheduler": COSINE,
            "default_hooks": {"logger": {"interval": NEVER}, "checkpoint": NO_CHECKPOINT},
            "data_preprocessor": {"mean": self.mean, "std": self.std},
            **changes,
        }
        world = World(device=self.device)
        with tempfile.TemporaryDirectory() as folder, contextlib.closing(self.loader()) as loader:
            logger, console = open_logger(Path(folder), world, quiet=True)
            with contextlib.closing(
                Reporter(Path(folder), cfg.get("vis_backends", []), world, logger, console)
            ) as reporter:
                trainer = Trainer({**cfg, "work_dir": folder}, self.task(), loader, None, list(hooks), reporter, world)
                trainer.train()
        return trainer

    def rivals(self, names: Sequence[str] = ("bare", "timm", "torchvision")) -> dict[str, Callable[[], Any]]:
        """Return training steps by other means, by name, each with weights of its own, equal to the run's at first."""
        batches = self.batches()
        return {name: RIVALS[name](self, batches) for name in names}

    def batches(self) -> Batches:
        """Return the bare loop's batches of the set."""
        images, labels = self.source.images.to(self.device), self.source.labels.to(self.device)
        return Batches(
            images, labels, self.batch_size, self.mean, self.std, self.padding, self.flip, self.channels_last
        )

    def network(self) -> tuple[nn.Sequential, torch.optim.SGD]:
        """Return the network as one would write it by hand, and its optimizer."""
        task = self.task()
        net = hand_written(task.backbone, task.head.fc)
        if self.compile:
            net.compile(mode="default" if self.compile is True else self.compile)
        return net, torch.optim.SGD(net.parameters(), **SGD)


def _bare(recipe: Recipe, batches: Batches) -> BareLoop:
    draw = None if recipe.alpha is None else mixup_draws(recipe.alpha, recipe.batch_size, recipe.device)
    net, optimizer = recipe.network()
    return BareLoop(net, batches, optimizer, draw, recipe.bf16)


def _timm(recipe: Recipe, batches: Batches) -> Callable[[], Any]:
    from timm.data import Mixup  # here, as other rivals need no timm

    from openmix.bench.timm_loop import TimmLoop

    mixup = None
    if recipe.alpha is not None:
        mixup = Mixup(mixup_alpha=recipe.alpha, label_smoothing=0.0, num_classes=recipe.source.num_classes)
    net, optimizer = recipe.network()
    return TimmLoop(net, batches, optimizer, mixup, recipe.bf16)


def _torchvision(recipe: Recipe, batches: Batches) -> Callable[[], Any]:
    from openmix.bench.torchvision_loop import TorchvisionLoop

    mixup = None if recipe.alpha is None else v2.MixUp(alpha=recipe.alpha, num_classes=recipe.source.num_classes)
    net, optimizer = recipe.network()
    return TorchvisionLoop(net, batches, optimizer, mixup, recipe.bf16)


RIVALS: Mapping[str, Callable[[Recipe, Batches], Callable[[], Any]]] = {
    "bare": _bare,
    "timm": _timm,
    "torchvision": _torchvision,
}
