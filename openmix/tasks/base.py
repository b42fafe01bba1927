"""The protocol between the training loop and whatever is trained.

The loop knows nothing of mixing, teachers or queues. For each micro-batch it calls ``task(batch, context)`` and gets a
dict with ``loss`` and any other scalar to be logged; after the optimizer's step it calls ``task.after_step(context)``.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.tasks.context import StepContext

__all__ = ["Task"]


class Task(nn.Module):
    """Owns the networks of one training objective and says what one step computes."""

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss`` and further 0-d tensors to be logged.

        Args:
            batch: normalised float views on the device.
            context: where in the run this micro-batch stands.
        """
        raise NotImplementedError

    def predict(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes) for normalised images (B, C, H, W)."""
        raise NotImplementedError

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Return the optimizer's parameter groups; the default is one group of all that can be trained."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def after_step(self, context: StepContext) -> None:
        """Do what follows an optimizer step, such as moving a teacher or a queue; nothing by default."""
