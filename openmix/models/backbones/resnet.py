"""ResNet (He et al., CVPR 2016), arXiv:1512.03385, and ResNeXt (Xie et al., CVPR 2017), arXiv:1611.05431.

The blocks are torchvision's, by its names, so weights of torchvision, timm, OpenMixup, ResizeMix and R-Mix fit these
networks as they are. A bottleneck has its stride in the 3x3 convolution, where the papers have it in the 1x1 before.
"""

from collections.abc import Sequence

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from openmix.models.backbones.checks import check_one_of
from openmix.models.backbones.staged import StagedNetwork
from openmix.ops.checks import check_flag, check_integer

__all__ = ["ResNeXt", "ResNeXt_CIFAR", "ResNet", "ResNet_CIFAR", "he_init"]

ARCHITECTURES = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
    152: (Bottleneck, [3, 8, 36, 3]),
    200: (Bottleneck, [3, 24, 36, 3]),
}
RESNET_DEPTHS = tuple(ARCHITECTURES)
RESNEXT_DEPTHS = (50, 101, 152)


def he_init(network: nn.Module) -> None:
    """Draw all convolutions of a network by He's rule: variance 2 / (channels out * kernel area), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _blocks(
    depth: int, depths: Sequence[int], zero_init_residual: bool, groups: int = 1, width_per_group: int = 64
) -> torchvision.models.ResNet:
    """Return torchvision's network of a depth, if it is among the known ones."""
    check_one_of("depth", depth, depths)
    check_flag("zero_init_residual", zero_init_residual)
    check_integer("groups", groups, 1)
    check_integer("width_per_group", width_per_group, 1)
    block, layers = ARCHITECTURES[depth]
    # its classifier is thrown away
    return torchvision.models.ResNet(block, layers, 1, zero_init_residual, groups, width_per_group)


class _TorchvisionResNet(StagedNetwork):
    """torchvision's network from its first BatchNorm to its last stage, behind a stem of our own."""

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, net: torchvision.models.ResNet, conv1: nn.Conv2d, maxpool: nn.Module) -> None:
        super().__init__()
        self.out_channels = tuple(net.fc.in_features // 2**i for i in (3, 2, 1, 0))
        he_init(conv1)
        self.conv1 = conv1
        self.bn1 = net.bn1
        self.relu = net.relu
        self.maxpool = maxpool
        self.layer1 = net.layer1
        self.layer2 = net.layer2
        self.layer3 = net.layer3
        self.layer4 = net.layer4

    def stem(self, images: Tensor) -> Tensor:
        """Return the stem's map for images (B, C, H, W): (B, 64, H/4, W/4), or (B, 64, H, W) for small images."""
        return self.maxpool(self.relu(self.bn1(self.conv1(images))))


def _imagenet_stem(in_channels: int) -> tuple[nn.Conv2d, nn.Module]:
    check_integer("in_channels", in_channels, 1)
    return nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False), nn.MaxPool2d(3, stride=2, padding=1)


def _cifar_stem(in_channels: int) -> tuple[nn.Conv2d, nn.Module]:
    check_integer("in_channels", in_channels, 1)
    return nn.Conv2d(in_channels, 64, 3, padding=1, bias=False), nn.Identity()


class ResNet(_TorchvisionResNet):
    """ResNet with the stem for ImageNet: 7x7 of stride 2 and a max-pool, a quarter of the image's height and width.

    torchvision's and ResizeMix's network; R-Mix trains torchvision's as well. OpenMixup's differs by
    ``zero_init_residual=True``. Convolutions are initialised by He's rule (fan out). Depth 200 is ResizeMix's, with
    the block counts of He et al. (ECCV 2016) but the blocks of the other depths.

    Args:
        depth: 18, 34, 50, 101, 152 or 200.
        in_channels: of the images.
        zero_init_residual: whether the last BatchNorm of each block starts with zero weight, so that every block
            starts as the identity; default no, as torchvision.

    Raises:
        ValueError: another depth, or in_channels below 1.

    >>> import torch
    >>> [tuple(f.shape) for f in ResNet(18).eval()(torch.rand(1, 3, 64, 64))]
    [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4), (1, 512, 2, 2)]
    """

    def __init__(self, depth: int, in_channels: int = 3, zero_init_residual: bool = False) -> None:
        net = _blocks(depth, RESNET_DEPTHS, zero_init_residual)
        super().__init__(net, *_imagenet_stem(in_channels))


class ResNet_CIFAR(_TorchvisionResNet):  # noqa: N801  (OpenMixup's name)
    """ResNet with a 3x3 stem of stride 1 and no max-pool, for images of 32 pixels or so.

    OpenMixup's network of this name: the widths of the ImageNet networks, not the 16, 32 and 64 channels that the
    paper has for CIFAR. Convolutions are initialised by He's rule (fan out).

    Args:
        depth: 18, 34, 50, 101, 152 or 200.
        in_channels: of the images.
        zero_init_residual: whether the last BatchNorm of each block starts with zero weight, so that every block
            starts as the identity; default yes, as OpenMixup.

    Raises:
        ValueError: another depth, or in_channels below 1.
    """

    def __init__(self, depth: int = 18, in_channels: int = 3, zero_init_residual: bool = True) -> None:
        net = _blocks(depth, RESNET_DEPTHS, zero_init_residual)
        super().__init__(net, *_cifar_stem(in_channels))


class ResNeXt(_TorchvisionResNet):
    """ResNeXt with the stem for ImageNet, see :class:`ResNet`: bottlenecks whose 3x3 convolution is grouped.

    torchvision's network. OpenMixup's differs by ``zero_init_residual=True``.

    Args:
        depth: 50, 101 or 152.
        groups: of each 3x3 convolution, the paper's cardinality; the default and the next are the paper's 32x4d.
        width_per_group: channels of a group in the first stage; doubled from stage to stage.
        in_channels: of the images.
        zero_init_residual: whether the last BatchNorm of each block starts with zero weight; default no, as
            torchvision.

    Raises:
        ValueError: another depth; groups, width_per_group or in_channels below 1.
    """

    def __init__(
        self,
        depth: int,
        groups: int = 32,
        width_per_group: int = 4,
        in_channels: int = 3,
        zero_init_residual: bool = False,
    ) -> None:
        net = _blocks(depth, RESNEXT_DEPTHS, zero_init_residual, groups, width_per_group)
        super().__init__(net, *_imagenet_stem(in_channels))


class ResNeXt_CIFAR(_TorchvisionResNet):  # noqa: N801  (OpenMixup's name)
    """ResNeXt with the stem of :class:`ResNet_CIFAR`, for images of 32 pixels or so; OpenMixup's network of this name.

    Args:
        depth: 50, 101 or 152.
        groups: of each 3x3 convolution, the paper's cardinality; the default and the next are the paper's 32x4d.
        width_per_group: channels of a group in the first stage; doubled from stage to stage.
        in_channels: of the images.
        zero_init_residual: whether the last BatchNorm of each block starts with zero weight; default yes, as
            OpenMixup.

    Raises:
        ValueError: another depth; groups, width_per_group or in_channels below 1.
    """

    def __init__(
        self,
        depth: int,
        groups: int = 32,
        width_per_group: int = 4,
        in_channels: int = 3,
        zero_init_residual: bool = True,
    ) -> None:
        net = _blocks(depth, RESNEXT_DEPTHS, zero_init_residual, groups, width_per_group)
        super().__init__(net, *_cifar_stem(in_channels))
