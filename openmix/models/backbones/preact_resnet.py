"""ResNet with activation before convolution (He et al., ECCV 2016), arXiv:1603.05027, as R-Mix has it."""

from torch import Tensor, nn
from torch.nn import functional as F

from openmix.models.backbones.checks import check_one_of
from openmix.models.backbones.staged import StagedNetwork
from openmix.ops.checks import check_integer

__all__ = ["PreActResNet"]


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions, each behind BatchNorm and ReLU, and a shortcut past them."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.shortcut is None else self.shortcut(active))


class _Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution, each behind BatchNorm and ReLU, and a shortcut past them."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.shortcut = _shortcut(in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        out = self.conv3(F.relu(self.bn3(out)))
        return out + (x if self.shortcut is None else self.shortcut(active))


ARCHITECTURES = {
    18: (_BasicBlock, (2, 2, 2, 2)),
    34: (_BasicBlock, (3, 4, 6, 3)),
    50: (_Bottleneck, (3, 4, 6, 3)),
    101: (_Bottleneck, (3, 4, 23, 3)),
    152: (_Bottleneck, (3, 8, 36, 3)),
}


class PreActResNet(StagedNetwork):
    """ResNet whose blocks normalise and activate before each convolution, with a 3x3 stem, for small images.

    The network of R-Mix, Puzzle Mix and Co-Mixup. It departs from the paper in that nothing normalises or activates the
    last stage's map before it is pooled, in the stem, and in torch's default initialisation. A shortcut is the block's
    input, or where the shape changes a 1x1 convolution of the normalised and activated input. No convolution has a
    bias. Parameters have R-Mix's names, the classifier apart.

    Args:
        depth: 18, 34, 50, 101 or 152; from 50 on with bottlenecks, whose stride is in the 3x3 convolution.
        in_channels: of the images.
        stride: of the stem: 1 for images of 32 pixels (default), 2 for 64.

    Raises:
        ValueError: another depth or stride, or in_channels below 1.

    >>> import torch
    >>> [tuple(f.shape) for f in PreActResNet(18, stride=2)(torch.rand(2, 3, 64, 64))]
    [(2, 64, 32, 32), (2, 128, 16, 16), (2, 256, 8, 8), (2, 512, 4, 4)]
    """

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, depth: int = 18, in_channels: int = 3, stride: int = 1) -> None:
        super().__init__()
        check_one_of("depth", depth, ARCHITECTURES)
        check_one_of("stride", stride, (1, 2))
        check_integer("in_channels", in_channels, 1)
        block, layers = ARCHITECTURES[depth]
        widths = (64, 128, 256, 512)
        self.out_channels = tuple(width * block.expansion for width in widths)
        self.conv1 = nn.Conv2d(in_channels, 64, 3, stride, padding=1, bias=False)
        channels = 64
        for name, width, count in zip(self.stage_names, widths, layers, strict=True):
            out = width * block.expansion
            first = block(channels, width, 1 if name == "layer1" else 2)
            self.add_module(name, nn.Sequential(first, *(block(out, width, 1) for _ in range(count - 1))))
            channels = out

    def stem(self, images: Tensor) -> Tensor:
        """Return the stem's map, (B, 64, H / stride, W / stride)."""
        return self.conv1(images)
