"""What the loaders ask of a data set."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["HasLayout", "Source"]


@runtime_checkable
class Source(Protocol):
    """A labelled set of images with random access.

    Attributes:
        num_classes: how many classes there are; every label is in [0, num_classes).
        classes: their names, in label order.
    """

    num_classes: int
    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        """Return the image, uint8 (C, H, W), and its label."""
        ...

    def take(self, count: int, /) -> "Source":
        """Return the set of the first ``count`` images (all of them where there are fewer)."""
        ...


class HasLayout(Protocol):
    """A data set whose images' shape is known without reading any, so that a dry run can do without them."""

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, (C, H, W))`` for constructor options."""
        ...
