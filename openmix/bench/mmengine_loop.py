"""mmengine's own Runner on a network and batches that are there already, so that what it costs is its loop."""

import tempfile
from collections.abc import Iterator, Sequence

from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

__all__ = ["train_by_mmengine"]


class _Network(BaseModel):
    """Cross entropy of a network's logits, as mmengine's Runner wants it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, labels: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        """Return the loss."""
        return {"loss": F.cross_entropy(self.net(images), labels)}


class _InTurn:
    """What the Runner takes for a loader: the same batches again and again."""

    def __init__(self, batches: Sequence[tuple[Tensor, Tensor]], steps: int) -> None:
        self.dataset, self.steps = [{"images": images, "labels": labels} for images, labels in batches], steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(self.steps):
            yield self.dataset[step % len(self.dataset)]


def train_by_mmengine(
    net: nn.Module, optimizer: Optimizer, batches: Sequence[tuple[Tensor, Tensor]], steps: int, hook: Hook
) -> None:
    """Train for an epoch of so many steps with mmengine's default hooks, but for records and checkpoints.

    Args:
        net: images -> logits.
        optimizer: over its parameters.
        batches: normalised images and labels, in turn.
        steps: how many.
        hook: one more, which acts last.
    """
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model=_Network(net),
            work_dir=folder,
            train_dataloader=_InTurn(batches, steps),  # type: ignore[arg-type]  it is only asked for what this has
            train_cfg={"by_epoch": True, "max_epochs": 1},
            optim_wrapper={"optimizer": optimizer},
            default_hooks={"logger": {"type": "LoggerHook", "interval": steps + 1}, "checkpoint": None},
            custom_hooks=[hook],
            env_cfg={"dist_cfg": {"backend": "gloo"}},
            log_level="ERROR",
            experiment_name=f"bench_{id(net)}",  # mmengine keeps loggers by this name
        )
        runner.train()
        for handler in runner.logger.handlers:
            handler.close()
