"""PyramidNet (Han, Kim and Kim, CVPR 2017), arXiv:1610.02915, for small images, with ShakeDrop if wanted."""

from collections import OrderedDict
from typing import get_args

import torch.nn.functional as F
from torch import Tensor, nn

from openmix.models.backbones.checks import count_blocks
from openmix.models.backbones.resnet import he_init
from openmix.models.backbones.staged import StagedNetwork
from openmix.models.shake import ShakeDrop, ShakeLevel
from openmix.ops.checks import check_choice, check_flag, check_integer, check_probability

__all__ = ["PyramidNet"]


class _PyramidBlock(nn.Sequential):
    """BatchNorm before the first convolution and after each, ReLU between them; the input is added at the end.

    The shortcut has no weights: it averages 2x2 pixels where the block has stride 2, and has 0 in the channels that
    the block adds.
    """

    def __init__(self, channels: int, width: int, bottleneck: bool, stride: int, noise: nn.Module) -> None:
        super().__init__(OrderedDict(bn1=nn.BatchNorm2d(channels)))
        layers = [(1, 1, width), (3, stride, width), (1, 1, 4 * width)]
        for i, (kernel, step, out) in enumerate(layers if bottleneck else [(3, stride, width), (3, 1, width)], 1):
            if i > 1:
                self.add_module(f"relu{i}", nn.ReLU(inplace=True))
            self.add_module(f"conv{i}", nn.Conv2d(channels, out, kernel, step, padding=kernel // 2, bias=False))
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(out))
            channels = out
        self.add_module("noise", noise)
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        branch = super().forward(input)
        shortcut = F.avg_pool2d(input, 2, ceil_mode=True) if self.stride == 2 else input
        return branch + F.pad(shortcut, (0, 0, 0, 0, 0, branch.shape[1] - shortcut.shape[1]))


class PyramidNet(StagedNetwork):
    """Additive PyramidNet: every block is a little wider than the one before it; for images of 32 pixels or so.

    Block k of K has ``round(16 + alpha * k / K)`` channels, or 4 times as many at its end with bottlenecks; as in the
    authors' PyTorch code, alpha / K is added up in floating point, and a tie goes to the even number if the sum is
    exact. There is no ReLU before a block's first convolution; the last stage is followed by BatchNorm and ReLU.
    Convolutions are initialised by He's rule (fan out). Parameters have the authors' names, the classifier apart.

    Args:
        depth: 6 n + 2 for n blocks in each of the three stages, 9 n + 2 with bottlenecks; default 110.
        alpha: how many channels the last block has more than the stem's 16; default 48, the paper's smallest.
        bottleneck: blocks of 1x1, 3x3 and 1x1 convolutions instead of two 3x3 ones; default False.
        shakedrop: probability in [0, 1] that :class:`~openmix.models.shake.ShakeDrop` drops the last block; it grows
            linearly with the block. Default 0, without ShakeDrop, whose paper has 0.5.
        level: 'batch' or 'image' (default): what shares ShakeDrop's coefficients.
        in_channels: of the images.

    Raises:
        ValueError: a depth, shakedrop or level that there is not, a negative alpha, or in_channels below 1.
    """

    stage_names = ("layer1", "layer2", "layer3")

    def __init__(
        self,
        depth: int = 110,
        alpha: int = 48,
        bottleneck: bool = False,
        shakedrop: float = 0.0,
        level: ShakeLevel = "image",
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_flag("bottleneck", bottleneck)
        count = count_blocks(depth, 9 if bottleneck else 6, 2)
        check_integer("alpha", alpha, 0)
        check_probability("shakedrop", shakedrop)
        check_choice("level", level, get_args(ShakeLevel))
        check_integer("in_channels", in_channels, 1)
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        channels, out_channels, exact = 16, [], 16.0
        blocks = len(self.stage_names) * count
        for i, name in enumerate(self.stage_names):
            stage = []
            for k in range(count * i + 1, count * (i + 1) + 1):
                exact += alpha / blocks  # a sum, whose errors decide ties as they do in the authors' code
                width = round(exact)
                noise = ShakeDrop(1 - shakedrop * k / blocks, level) if shakedrop else nn.Identity()
                stride = 2 if i and not stage else 1
                stage.append(_PyramidBlock(channels, width, bottleneck, stride, noise))
                channels = 4 * width if bottleneck else width
            self.add_module(name, nn.Sequential(*stage))
            out_channels.append(channels)
        self.out_channels = tuple(out_channels)
        self.bn_final = nn.BatchNorm2d(channels)
        he_init(self)

    def stem(self, images: Tensor) -> Tensor:
        """Return the stem's map, (B, 16, H, W)."""
        return self.bn1(self.conv1(images))

    def finish(self, x: Tensor) -> Tensor:
        """Return the last stage's map after BatchNorm and ReLU."""
        return F.relu(self.bn_final(x))
