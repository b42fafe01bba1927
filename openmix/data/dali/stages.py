"""torchvision's transforms as DALI's operators: what each draws, and its piece of DALI's graph.

Every number is drawn here, on the CPU and a batch at a time, and given to DALI as an input; DALI itself draws nothing.
So what a pipeline yields is a function of the key, wherever it starts.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from openmix.errors import UserError

__all__ = ["CenterCrop", "Erase", "Flip", "RandomCrop", "RandomResizedCrop", "Resize", "Stage", "resizing"]

Drawn = tuple[list[Tensor], Tensor]  # inputs, one row an image each; and the sizes (B, 2) of what comes out


class Stage(Protocol):
    """The counterpart of one transform.

    Attributes:
        inputs: the number of dimensions of each of its inputs, without the batch's.
        conditional: whether its graph goes different ways for different images.
    """

    @property
    def inputs(self) -> Sequence[int]: ...  # noqa: D102

    @property
    def conditional(self) -> bool: ...  # noqa: D102

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Return inputs, int32 or float32 (B, ...), for images of these sizes, int64 (B, 2), and the sizes after."""
        ...

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return DALI's node of the images, uint8 HWC, after this stage."""
        ...


class RandomResizedCrop:
    """``v2.RandomResizedCrop``. Inputs: the box's corner and its size. As the first stage it decodes no more than that.

    Args:
        transform: torchvision's.
    """

    inputs = (1, 1)
    conditional = False

    def __init__(self, transform: Any) -> None:
        self.size, self.crops = tuple(transform.size), (self,)
        self.scale, self.ratio = transform.scale, transform.ratio
        self.filter = resizing(transform)

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw a box for each image, by torchvision's rule."""
        # with torchvision, which those who use no DALI are spared
        from openmix.data.transforms.crop_boxes import NUMBERS_A_BOX, boxes_from

        heights, widths = sizes.numpy().T
        low, high = (np.full((len(sizes), 1), bound) for bound in self.scale)
        numbers = torch.rand(len(sizes), 1, NUMBERS_A_BOX, generator=generator, dtype=torch.float64).numpy()
        boxes = torch.from_numpy(boxes_from(heights, widths, low, high, numbers, self.ratio))[:, 0]
        anchor, shape = boxes[:, 0::2], boxes[:, 1::2] - boxes[:, 0::2]
        return [anchor.int(), shape.int()], self.draw_after(len(sizes), generator)[1]

    def draw_after(self, count: int, generator: torch.Generator) -> Drawn:
        """Draw all but the crop, for so many images: nothing."""
        return [], torch.tensor(self.size).expand(count, 2)

    def decode(self, encoded: Any, inputs: Sequence[Any], device: str) -> Any:
        """Return the resized boxes of encoded images."""
        from nvidia.dali import fn

        anchor, shape = inputs
        images = fn.decoders.image_slice(
            encoded, start=anchor, shape=shape, axes=[0, 1], device=device, adjust_orientation=False
        )
        return fn.resize(images, size=list(self.size), **self.filter())

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the resized boxes of images."""
        from nvidia.dali import fn

        anchor, shape = inputs
        return fn.resize(
            fn.slice(images, start=anchor, shape=shape, axes=[0, 1]), size=list(self.size), **self.filter()
        )


class Resize:
    """``v2.Resize``, to a shorter side or to height and width. Inputs: the size of what comes out."""

    inputs = (1,)
    conditional = False

    def __init__(self, transform: Any) -> None:
        if transform.size is None or transform.max_size is not None:
            raise UserError("DaliLoader's Resize takes a size and no max_size; use TorchLoader")
        size = transform.size
        self.size: list[int] = [size] if isinstance(size, int) else list(size)
        self.filter = resizing(transform)

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Return the new sizes; of one side, the longer is rounded down, as torchvision does."""
        if len(self.size) == 2:
            new = torch.tensor(self.size).expand_as(sizes)
        else:
            short = sizes.amin(1, keepdim=True)
            # in float64, as Python's own division
            new = torch.where(sizes == short, self.size[0], (self.size[0] * sizes.double() / short).long())
        return [new.float()], new

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images, resized."""
        from nvidia.dali import fn

        return fn.resize(images, size=inputs[0], **self.filter())


class _Window:
    """A window of the image, which may reach over its edges. Inputs: its corner."""

    inputs = (1,)
    conditional = False
    size: tuple[int, int]
    fill: float = 0

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the windows."""
        from nvidia.dali import fn

        return fn.slice(
            images,
            start=inputs[0],
            shape=list(self.size),
            axes=[0, 1],
            out_of_bounds_policy="pad",
            fill_values=self.fill,
        )


class CenterCrop(_Window):
    """``v2.CenterCrop``, with torchvision's rounding: half a pixel goes to the even side. DALI's own goes up."""

    def __init__(self, transform: Any) -> None:
        self.size = tuple(transform.size)

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Return the corners."""
        spare = sizes - torch.tensor(self.size)
        # an image that is too small is padded, the odd pixel below and on the right
        corner = torch.where(spare >= 0, (spare.double() / 2).round(), -(-spare).div(2, rounding_mode="floor")).int()
        return [corner], torch.tensor(self.size).expand_as(sizes)


class RandomCrop(_Window):
    """``v2.RandomCrop`` with constant padding."""

    def __init__(self, transform: Any) -> None:
        fill = transform.fill
        if transform.pad_if_needed or transform.padding_mode != "constant" or not isinstance(fill, int | float):
            raise UserError("DaliLoader's RandomCrop takes constant padding with one value only; use TorchLoader")
        self.size, self.fill = tuple(transform.size), fill
        left, right, top, bottom = transform.padding or (0, 0, 0, 0)
        self.before, self.after = torch.tensor([top, left]), torch.tensor([bottom, right])

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw a corner for each image, uniform over the places that fit."""
        places = sizes + self.before + self.after - torch.tensor(self.size) + 1
        if (places < 1).any():
            smallest = tuple(sizes[places.amin(1).argmin()].tolist())
            raise UserError(f"RandomCrop cannot cut {self.size} out of an image of {smallest} with its padding")
        drawn = (torch.rand(places.shape, generator=generator, dtype=torch.float64) * places).long()
        return [(drawn - self.before).int()], torch.tensor(self.size).expand_as(sizes)


class Flip:
    """``v2.RandomHorizontalFlip``. Inputs: 1 where the image is mirrored."""

    inputs = (0,)
    conditional = False

    def __init__(self, transform: Any) -> None:
        self.probability = transform.p

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Return 1 with the transform's probability, else 0."""
        return [(torch.rand(len(sizes), generator=generator) < self.probability).int()], sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images, mirrored where the draw is 1."""
        from nvidia.dali import fn

        return fn.flip(images, horizontal=inputs[0])


class Erase:
    """``Cutout``. Inputs: the erased rectangle's corner and size, clipped at the borders."""

    inputs = (1, 1)
    conditional = False

    def __init__(self, transform: Any) -> None:
        self.size = transform.size
        self.fill = transform.fill_for(torch.empty(3, 1, 1, dtype=torch.uint8)).flatten().tolist()

    def draw(self, sizes: Tensor, generator: torch.Generator) -> Drawn:
        """Draw a centre for each image, uniform over its pixels."""
        centre = (torch.rand(sizes.shape, generator=generator, dtype=torch.float64) * sizes).long()
        begin = centre - self.size // 2
        end = torch.minimum(begin + self.size, sizes)
        begin = begin.clamp(min=0)
        return [begin.int(), (end - begin).int()], sizes

    def graph(self, images: Any, inputs: Sequence[Any]) -> Any:
        """Return the images with the rectangles filled."""
        from nvidia.dali import fn, types

        corner, shape = (fn.cast(node, dtype=types.DALIDataType.FLOAT) for node in inputs)
        return fn.erase(images, anchor=corner, shape=shape, axes=[0, 1], fill_value=self.fill)


def resizing(transform: Any) -> Callable[[], dict[str, Any]]:
    """Return what makes DALI's resizing arguments for a transform's interpolation."""
    mode: Any = getattr(transform.interpolation, "value", transform.interpolation)  # older torchvisions have numbers
    mode = {2: "bilinear", 3: "bicubic"}.get(mode, mode)
    name = {"nearest-exact": "INTERP_NN", "bilinear": "INTERP_LINEAR", "bicubic": "INTERP_CUBIC"}.get(mode)
    if name is None:
        raise UserError(f"DaliLoader does not interpolate by {mode}: it takes nearest-exact, bilinear and bicubic")

    def arguments() -> dict[str, Any]:
        from nvidia.dali import types

        return {"interp_type": getattr(types, name), "antialias": bool(transform.antialias)}

    return arguments
