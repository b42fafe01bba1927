"""ResNet (He et al., CVPR 2016), arXiv:1512.03385, with the stem for small images that the CIFAR benchmarks use."""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from openmix.models.backbones.staged import StagedNetwork

__all__ = ["ResNet_CIFAR"]

ARCHITECTURES = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
}


class ResNet_CIFAR(StagedNetwork):  # noqa: N801  (OpenMixup's name)
    """torchvision's ResNet with a 3x3 stem of stride 1 and no max-pool, for images of 32 pixels or so.

    As OpenMixup's network of this name: convolutions initialised by He's rule (fan out), the last BatchNorm of each
    block with zero weight, so that every block starts as the identity.

    Args:
        depth: 18, 34 or 50.
        in_channels: of the images.

    Raises:
        ValueError: another depth.
    """

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, depth: int = 18, in_channels: int = 3) -> None:
        super().__init__()
        if depth not in ARCHITECTURES:
            raise ValueError(f"depth must be one of {', '.join(map(str, ARCHITECTURES))}, got {depth}")
        block, layers = ARCHITECTURES[depth]
        net = ResNet(block, layers, num_classes=1, zero_init_residual=True)
        self.out_channels = tuple(width * block.expansion for width in (64, 128, 256, 512))
        self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = net.bn1
        self.relu = net.relu
        self.layer1 = net.layer1
        self.layer2 = net.layer2
        self.layer3 = net.layer3
        self.layer4 = net.layer4

    def stem(self, images: Tensor) -> Tensor:
        """Return the stem's map, (B, 64, H, W)."""
        return self.relu(self.bn1(self.conv1(images)))
