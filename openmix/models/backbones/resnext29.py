"""ResNeXt-29 for CIFAR (Xie et al., CVPR 2017), arXiv:1611.05431, as R-Mix has it."""

from torch import Tensor, nn
from torch.nn import functional as F

from openmix.models.backbones.resnet import he_init
from openmix.models.backbones.staged import StagedNetwork
from openmix.ops.checks import check_integer

__all__ = ["ResNeXt29_4_24"]

CARDINALITY = 4


class _Bottleneck(nn.Module):
    """A 1x1, a grouped 3x3 and a 1x1 convolution, each normalised, past which the input goes."""

    def __init__(self, in_channels: int, width: int, out_channels: int, stride: int, downsample: bool) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn_reduce = nn.BatchNorm2d(width)
        self.conv_conv = nn.Conv2d(width, width, 3, stride, padding=1, groups=CARDINALITY, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.conv_expand = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn_expand = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if downsample:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn_reduce(self.conv_reduce(x)))
        out = F.relu(self.bn(self.conv_conv(out)))
        out = self.bn_expand(self.conv_expand(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNeXt29_4_24(StagedNetwork):  # noqa: N801  (R-Mix's name)
    """ResNeXt-29, 4x24d: three stages of three bottlenecks, for images of 32 pixels or so.

    The network of R-Mix and Co-Mixup; the paper's of this depth are 8x64d and 16x64d. A 3x3 convolution to 64 channels;
    stages of 256, 512 and 1024 channels, the second and third at half the height and width of the one before. Each
    block's 3x3 convolution has 4 groups of 24, 48 or 96 channels, and the stride. A shortcut is the input, or at the
    start of a stage a normalised 1x1 convolution of it. Convolutions have no bias and start by He's rule (fan out).
    Parameters have R-Mix's names, the classifier apart, with ``layer`` for its ``stage_``.

    Args:
        in_channels: of the images.

    Raises:
        ValueError: in_channels below 1.

    >>> import torch
    >>> [tuple(f.shape) for f in ResNeXt29_4_24()(torch.rand(2, 3, 32, 32))]
    [(2, 256, 32, 32), (2, 512, 16, 16), (2, 1024, 8, 8)]
    """

    stage_names = ("layer1", "layer2", "layer3")
    out_channels = (256, 512, 1024)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        check_integer("in_channels", in_channels, 1)
        self.conv_1_3x3 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        self.bn_1 = nn.BatchNorm2d(64)
        channels = 64
        for i, (name, out) in enumerate(zip(self.stage_names, self.out_channels, strict=True)):
            width = CARDINALITY * 24 * 2**i
            first = _Bottleneck(channels, width, out, 2 if i else 1, downsample=True)
            rest = (_Bottleneck(out, width, out, 1, downsample=False) for _ in range(2))
            self.add_module(name, nn.Sequential(first, *rest))
            channels = out
        he_init(self)

    def stem(self, images: Tensor) -> Tensor:
        """Return the stem's map, (B, 64, H, W)."""
        return F.relu(self.bn_1(self.conv_1_3x3(images)))
