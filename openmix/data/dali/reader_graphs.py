"""What becomes of images that DALI's own readers read: DALI draws the crops, as it alone knows the images' sizes."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from openmix.data.dali.branches import require_one_size
from openmix.data.dali.chain import Chain
from openmix.data.dali.pasted import Pasted
from openmix.data.dali.stages import RandomResizedCrop, Stage, resizing
from openmix.errors import UserError

__all__ = ["CropAndFlip", "ReaderGraph", "ReaderViews"]


class ReaderGraph(Protocol):
    """What is done to images whose sizes are not known here.

    Attributes:
        inputs: the number of dimensions of each of its inputs, without the batch's.
        conditional: whether its graph goes different ways for different images.
    """

    @property
    def inputs(self) -> Sequence[int]: ...  # noqa: D102

    @property
    def conditional(self) -> bool: ...  # noqa: D102

    def draw(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Return the inputs for so many images."""
        ...

    def graph(self, encoded: Any, inputs: Sequence[Any], device: str) -> tuple[Any, ...]:
        """Return the nodes of the views, given those of the encoded images and of the inputs.

        Args:
            encoded: what DALI decodes, once for all views.
            inputs: in order.
            device: DALI's name for where it decodes, 'cpu' or 'mixed'.
        """
        ...


class CropAndFlip:
    """One view for which DALI draws everything: a crop, which alone is decoded, perhaps mirrored. No inputs.

    Args:
        pipeline: torchvision's transforms.

    Raises:
        UserError: it is another pipeline.
    """

    inputs = ()
    conditional = False

    def __init__(self, pipeline: Sequence[Callable[..., Any]]) -> None:
        from torchvision.transforms import v2

        kinds = [type(transform) for transform in pipeline]
        if kinds not in ([v2.RandomResizedCrop], [v2.RandomResizedCrop, v2.RandomHorizontalFlip]):
            names = ", ".join(kind.__name__ for kind in kinds) or "nothing"
            raise UserError(
                f"DaliReaderLoader's pipeline is RandomResizedCrop and perhaps RandomHorizontalFlip, not {names}; "
                "DaliLoader takes more"
            )
        self.crop: Any = pipeline[0]
        self.resizing = resizing(self.crop)
        self.flip: Any = pipeline[1] if len(pipeline) > 1 else None

    def draw(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Draw nothing."""
        return []

    def graph(self, encoded: Any, inputs: Sequence[Any], device: str) -> tuple[Any, ...]:
        """Return the node of the crops."""
        from nvidia.dali import fn

        images: Any = fn.decoders.image_random_crop(
            encoded, random_area=list(self.crop.scale), random_aspect_ratio=list(self.crop.ratio), device=device,
            adjust_orientation=False,
        )  # fmt: skip
        images = fn.resize(images, size=list(self.crop.size), **self.resizing())
        if self.flip is not None:
            images = fn.flip(images, horizontal=fn.random.coin_flip(probability=self.flip.p))
        return (images,)


class ReaderViews:
    """Views that each begin with a random crop. Inputs: all that is drawn but the crops, view by view.

    Args:
        views: the stages of each.

    Raises:
        UserError: one begins with another stage.
    """

    def __init__(self, views: Sequence[Sequence[Stage]]) -> None:
        self.views: list[tuple[RandomResizedCrop | Pasted, Chain]] = []
        for stages in views:
            if not stages or not isinstance(stages[0], RandomResizedCrop | Pasted):
                raise UserError(
                    "DaliReaderLoader's views each begin with RandomResizedCrop, ScaleMix or CropMixPair; DaliLoader "
                    "takes others"
                )
            self.views.append((stages[0], Chain(stages[1:])))
        self.inputs = tuple(n for crop, rest in self.views for n in (*_own(crop), *rest.inputs))
        self.conditional = any(stage.conditional for view in self.views for stage in view)

    def draw(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Return the inputs for so many images.

        Raises:
            UserError: the images of a view do not end up with one size.
        """
        inputs: list[Tensor] = []
        for crop, rest in self.views:
            drawn, sizes = crop.draw_after(count, generator)
            more, sizes = rest.draw(sizes, generator)
            require_one_size(sizes)
            inputs += [*drawn, *more]
        return inputs

    def graph(self, encoded: Any, inputs: Sequence[Any], device: str) -> tuple[Any, ...]:
        """Return the nodes of the views."""
        from nvidia.dali import fn

        # DALI rewrites this function where a stage is conditional, and does not know assignment expressions
        sizes = fn.peek_image_shape(encoded, adjust_orientation=False)
        images = fn.decoders.image(encoded, device=device, adjust_orientation=False)
        nodes: list[Any] = []
        for opening, rest in self.views:
            boxes: list[Any] = []
            for crop in opening.crops:
                box = fn.random_crop_generator(
                    sizes, random_area=list(crop.scale), random_aspect_ratio=list(crop.ratio)
                )
                boxes = [*boxes, *box]
            own = len(_own(opening))
            view = opening.graph(images, [*boxes, *inputs[:own]])
            view = rest.graph(view, inputs[own : own + len(rest.inputs)])
            nodes = [*nodes, view]
            inputs = inputs[own + len(rest.inputs) :]
        return tuple(nodes)


def _own(opening: RandomResizedCrop | Pasted) -> tuple[int, ...]:
    """Return the dimensions of a stage's inputs without its crops' corners and sizes, which come first."""
    return tuple(opening.inputs[2 * len(opening.crops) :])
