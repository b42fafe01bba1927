"""Several views of one image, for learning without labels."""

from collections.abc import Callable, Sequence
from typing import Any

from openmix.errors import UserError

__all__ = ["Views"]


class Views:
    """Make several views of one image, each by a pipeline of its own; the last transform of a pipeline.

    A loader then yields batches with as many ``views``. Which is which is for the task to say: a contrastive one takes
    the first as the query and the others as keys.

    Args:
        views: a pipeline for each view; each is given the same image. Views may differ in size.

    Raises:
        UserError: no view, or one that is not a list of transforms.

    >>> from torchvision.transforms import v2
    >>> import torch
    >>> views = Views([[v2.RandomResizedCrop(8)], [v2.CenterCrop(8), v2.RandomSolarize(128)]])
    >>> [tuple(view.shape) for view in views(torch.zeros(3, 16, 16, dtype=torch.uint8))]
    [(3, 8, 8), (3, 8, 8)]
    """

    def __init__(self, views: Sequence[Sequence[Callable[..., Any]]]) -> None:
        if not views or not all(isinstance(view, list | tuple) and all(map(callable, view)) for view in views):
            raise UserError(f"Views takes a list of pipelines, each a list of transforms, got {views!r}")
        self.views = tuple(tuple(view) for view in views)

    def __call__(self, image: Any) -> tuple[Any, ...]:
        """Return the views of an image, in order."""
        return tuple(_through(pipeline, image) for pipeline in self.views)

    def __repr__(self) -> str:
        return f"Views({[list(view) for view in self.views]})"


def _through(pipeline: Sequence[Callable[..., Any]], image: Any) -> Any:
    for transform in pipeline:
        image = transform(image)
    return image
