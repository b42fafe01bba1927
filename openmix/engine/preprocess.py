"""From what a loader yields to what a network sees, on the device."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.engine.settings import Preprocessor
from openmix.errors import UserError

__all__ = ["Normalize"]


class Normalize(nn.Module):
    """uint8 images -> ``(x / 255 - mean) / std`` in float32; floats are taken to lie in [0, 1] already.

    Args:
        preprocessor: mean and std, one value a channel or one for all.
        device: where the batches will be.
    """

    def __init__(self, preprocessor: Preprocessor, device: torch.device | str = "cpu") -> None:
        super().__init__()

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)

        mean, std = column(preprocessor.mean), column(preprocessor.std)
        # one multiplication and one addition for each kind of image
        self.channels = len(mean)
        self.scale, self.shift = 1 / std, -mean / std
        self.scale_uint8 = self.scale / 255
        self._filled: dict[tuple[int, torch.Size], Tensor] = {}  # by constant and image shape
        self.pixel_range = torch.stack([self.shift, self.shift + self.scale]).flatten(1)  # of black and of white

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images (B, C, H, W).

        Floats keep their memory format; bytes, which decoders leave channels last, become planes. A network's gradients
        come to lie as its input does: DistributedDataParallel complains where its weights do not, and sums otherwise.
        """
        if self.channels not in (1, images.shape[1]):
            raise UserError(
                f"data_preprocessor has mean and std for {self.channels} channels, the images have {images.shape[1]}"
            )
        if images.is_floating_point():
            return torch.addcmul(self._full(self.shift, images), images.float(), self._full(self.scale, images))
        planes = images.to(torch.float32, memory_format=torch.contiguous_format)
        shift, scale = self._full(self.shift, planes), self._full(self.scale_uint8, planes)
        return torch.addcmul(shift, planes, scale, out=planes)

    def _full(self, constants: Tensor, images: Tensor) -> Tensor:
        """Return one constant a pixel: on a CPU, where they must lie in memory to be multiplied several at a time.

        One a channel would take ten times as long there; a GPU is as fast, and reads less. Of images in another memory
        format the result would lie as the constants do.
        """
        if constants.device.type != "cpu" or not images.is_contiguous():
            return constants
        key = id(constants), images.shape[1:]
        if key not in self._filled:
            if len(self._filled) >= 8:  # images of many sizes
                self._filled.clear()
            self._filled[key] = constants.expand(images.shape[1:]).contiguous()
        return self._filled[key]

    def batch(self, batch: Batch) -> Batch:
        """Normalise every view of a batch, and tell it what black and white have become."""
        views = tuple(self.forward(view) for view in batch.views)
        return Batch(views, batch.labels, batch.index, self.pixel_range, batch.damaged)
