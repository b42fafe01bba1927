"""The protocol between the training loop and whatever is trained.

The loop knows nothing of mixing, teachers or queues. For each micro-batch it calls ``task(batch, context)`` and gets a
dict with ``loss`` and any other scalar to be logged; after the optimizer's step it calls ``task.after_step(context)``.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.tasks.context import StepContext

__all__ = ["WATCHING", "Task"]

WATCHING = "probe"  # the parameter group of what is trained on a network's features without a gradient to it


class Task(nn.Module):
    """Owns the networks of one training objective and says what one step computes.

    Attributes:
        batch_multiple: what the images of a micro-batch must be a multiple of.
        most_views: how many views of an image it looks at; None for as many as there are.
    """

    batch_multiple = 1
    most_views: int | None = None

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return ``loss`` and further 0-d tensors to be logged; the backward pass is the loop's.

        Args:
            batch: normalised float views on the device.
            context: where in the run this micro-batch stands.
        """
        raise NotImplementedError

    def predict(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes) for normalised images (B, C, H, W)."""
        raise NotImplementedError

    def predictions(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of every network that is evaluated, by name, for normalised images (B, C, H, W).

        The first entry is what :meth:`predict` returns, and is what the metrics are of. Any other gives ``top1_NAME``
        beside them.
        """
        return {"": self.predict(images)}

    def compiled(self) -> list[nn.Module]:
        """Return the modules that ``train_cfg.compile`` compiles; the default is the backbone."""
        return [self.get_submodule("backbone")]

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Return the optimizer's parameter groups; the default is one group of all that can be trained.

        A group's ``name``, where it has one, is what ``param_scheduler`` calls it by. One called ``probe`` is of what
        watches the others without a gradient to them: gradients are clipped by the others' norm and by its own.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def begin(self) -> None:
        """Take notice of weights that the networks were given after they were built; nothing by default."""

    def after_step(self, context: StepContext) -> None:
        """Do what follows an optimizer step, such as moving a teacher or a queue; nothing by default."""
