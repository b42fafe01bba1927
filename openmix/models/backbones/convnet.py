"""A small convolutional network, for CPUs, tests and first looks."""

from collections.abc import Sequence

from torch import nn

from openmix.models.backbones.staged import StagedNetwork
from openmix.ops.checks import check_integer

__all__ = ["ConvNet"]


class ConvNet(StagedNetwork):
    """Stages of two 3x3 convolutions, each followed by BatchNorm and ReLU; a 2x2 max-pool between stages.

    Not from a paper. With the default widths it has 0.29 M parameters and takes 39 M multiply-adds for a 32x32 image,
    so CIFAR-10 trains on two CPU cores in minutes.

    Args:
        widths: channels of each stage, first to last.
        in_channels: of the images.

    Raises:
        ValueError: no stage, or one without channels; in_channels below 1.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128), in_channels: int = 3) -> None:
        super().__init__()
        if not isinstance(widths, Sequence) or not widths:
            raise ValueError(f"widths must be the channels of one stage at least, got {widths!r}")
        for width in widths:
            check_integer("each of widths", width, 1)
        check_integer("in_channels", in_channels, 1)
        self.stage_names = tuple(f"layer{i}" for i in range(1, len(widths) + 1))
        self.out_channels = tuple(widths)
        for i, (name, width) in enumerate(zip(self.stage_names, widths, strict=True)):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if i else []
            for channels in (widths[i - 1] if i else in_channels, width):
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            self.add_module(name, nn.Sequential(*layers))
