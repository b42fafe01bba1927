"""RandomErasing with a colour, as configs can write it."""

from collections.abc import Sequence

from torchvision.transforms import v2

from openmix.errors import UserError

__all__ = ["RandomErasing"]


class RandomErasing(v2.RandomErasing):
    """torchvision's ``v2.RandomErasing`` (Zhong et al., AAAI 2020, arXiv:1708.04896), which may fill with a colour.

    Images are uint8 here, so noise is not offered: the normal noise of timm and DeiT (mode 'pixel') is for normalised
    images. The mean colour is what their mode 'const' writes. To erase in a whole batch on the device, after
    normalising, there is the mixing method of this name.

    Args:
        p: probability that an image is erased. Default 0.5.
        scale: range of the erased share of the area. Default (0.02, 0.33).
        ratio: range of height over width. Default (0.3, 3.3).
        value: in 0..255, one for all channels or one for each. Default 0, black.

    Raises:
        UserError: a value is out of that range.

    >>> import torch
    >>> erased = RandomErasing(1.0, value=[124, 116, 104])(torch.zeros(3, 32, 32, dtype=torch.uint8))
    >>> [int(channel.max()) for channel in erased]
    [124, 116, 104]
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] = 0.0,
    ) -> None:
        fill = list(value) if isinstance(value, Sequence) else value
        if not all(0 <= level <= 255 for level in (fill if isinstance(fill, list) else [fill])):
            raise UserError(
                f"RandomErasing: value must be in 0..255, one for all channels or one for each, got {value}"
            )
        super().__init__(p, scale, ratio, fill)  # pyright: ignore[reportArgumentType]  (annotated as float, takes both)
